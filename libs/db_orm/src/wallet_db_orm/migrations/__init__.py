"""The schema's history: `upgrade` takes a database to the present."""

from pathlib import Path

from alembic import command
from alembic.config import Config

from wallet_db_orm.database import asyncpg_url


def upgrade(database_url: str, revision: str = "head") -> None:
    """Bring the database to `revision`; a database that is there already is left alone."""
    command.upgrade(configuration(database_url), revision)


def configuration(database_url: str) -> Config:
    """Return alembic's configuration for `database_url`."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["database_url"] = asyncpg_url(database_url)
    return config
