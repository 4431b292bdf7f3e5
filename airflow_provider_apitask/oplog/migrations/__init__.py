"""The table of the operation log in a database: made, and brought up to date, by a command.

The scripts are no package: alembic runs them, and nobody else can import them. Which of them have run
is kept in a table of its own, so that the log can be in any database, also beside Airflow's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_apitask.oplog.database import engine_of

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

__all__ = ["VERSION_TABLE", "current", "head", "upgrade"]

VERSION_TABLE = "apitask_alembic_version"


def upgrade(conn_id: str | None = None) -> str:
    """Create the table and the view, or bring them up to date; does nothing where they are.

    :param conn_id: Airflow connection of the database; by default ``[apitask] operation_log_conn_id``.
    :returns: the version that it has now.
    :raises ConnectionFieldError: where there is no such connection, or it is not one of a database.
    """
    from alembic import command

    engine = engine_of(conn_id)
    try:
        with engine.begin() as connection:
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()
    return head()


def current(connection: Connection) -> str | None:
    """The version of the table in a database, None where there is none."""
    from alembic.migration import MigrationContext

    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision()


def head() -> str:
    """The version that this package works with."""
    from alembic.script import ScriptDirectory

    return str(ScriptDirectory.from_config(_config()).get_current_head())


def _config() -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "airflow_provider_apitask.oplog:migrations/scripts")
    config.set_main_option("path_separator", "os")
    return config
