"""This module is where `python -m wallet_api.migrate` brings the database to the present."""

from pydantic import Field, SecretStr

from wallet_db_orm.migrations import upgrade
from wallet_runtime.settings import ServiceSettings


class MigrateSettings(ServiceSettings):
    database_url: SecretStr = Field(validation_alias="WALLET_DATABASE_URL")


if __name__ == "__main__":
    upgrade(MigrateSettings.load().database_url.get_secret_value())
