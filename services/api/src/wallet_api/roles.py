"""This module is where `python -m wallet_api.roles` makes the roles of the database."""

from collections.abc import Mapping
from typing import Final

from pydantic import Field, SecretStr

from wallet_db_orm import migrations, roles
from wallet_runtime.settings import DatabaseUrl, ServiceSettings

# What an administrator without this program runs, by psql or any other client.
SQL: Final = f"""\
-- The roles of a wallet database, and {roles.OWNER} as the owner of all that is there. Run it in
-- the database itself, as an administrator of the server; it may be repeated. Then give each role a
-- password (\\password {roles.API}) and migrate as {roles.OWNER}, which grants the rest.
{roles.PREPARE.strip()}
"""


class RoleSettings(ServiceSettings):
    """The administrator's address, and passwords; a role without one keeps what it has."""

    database_url: DatabaseUrl = Field(validation_alias="WALLET_DATABASE_URL")
    owner: SecretStr | None = Field(None, validation_alias="WALLET_OWNER_PASSWORD")
    api: SecretStr | None = Field(None, validation_alias="WALLET_API_PASSWORD")
    worker: SecretStr | None = Field(None, validation_alias="WALLET_WORKER_PASSWORD")
    readonly: SecretStr | None = Field(None, validation_alias="WALLET_READONLY_PASSWORD")

    @property
    def passwords(self) -> Mapping[str, str]:
        given = zip(roles.ROLES, (self.owner, self.api, self.worker, self.readonly), strict=True)
        return {role: word.get_secret_value() for role, word in given if word is not None}


def make() -> None:
    """Make them as the environment says; raises NotPermitted."""
    settings = RoleSettings.load()
    migrations.prepare(settings.database_url.get_secret_value(), settings.passwords)


if __name__ == "__main__":
    make()
