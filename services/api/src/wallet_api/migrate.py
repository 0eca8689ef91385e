"""This module is where `python -m wallet_api.migrate` brings the database to the present."""

from pydantic import Field

from wallet_db_orm import migrations
from wallet_runtime.settings import DatabaseUrl, ServiceSettings


class MigrateSettings(ServiceSettings):
    database_url: DatabaseUrl = Field(validation_alias="WALLET_DATABASE_URL")


if __name__ == "__main__":
    migrations.bring_up_to_date(MigrateSettings.load().database_url.get_secret_value())
