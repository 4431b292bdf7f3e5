"""The metadata database of the crash tests: PostgreSQL where there is one, else SQLite."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

__all__ = ["DEFAULT_URL", "URL_VARIABLE", "MetadataDatabase", "metadata_database"]

#: A database of PostgreSQL in which the user may create others.
URL_VARIABLE = "APITASK_TEST_POSTGRES_URL"
DEFAULT_URL = "postgresql://postgres@127.0.0.1:5432/postgres"


@dataclass(frozen=True)
class MetadataDatabase:
    """A database that is there for one Airflow.

    :param url: for SQLAlchemy
    :param note: why it is not PostgreSQL; empty where it is
    """

    url: str
    note: str = ""
    _engines: list[Engine] = field(default_factory=list, repr=False)

    @property
    def env(self) -> dict[str, str]:
        """What Airflow has to be told besides the URL: the same driver does for its asynchronous part."""
        return {} if self.note else {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": self.url}

    def rows(self, query: str, **values: Any) -> list[Any]:
        """Read: the harness looks at many tasks at once, which the API gives one by one."""
        if not self._engines:
            self._engines.append(create_engine(self.url))
        with self._engines[0].connect() as connection:
            return list(connection.execute(text(query), values))

    def end_abandoned_transactions(self) -> None:
        """End what a killed process has left open.

        PostgreSQL notices that by itself, but not while a child of that process has inherited the connection.
        """
        if not self.note:
            self.rows(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
                " and state like 'idle in transaction%' and state_change < now() - interval '5 seconds'"
            )

    def close(self) -> None:
        """Close the connections."""
        while self._engines:
            self._engines.pop().dispose()


@contextmanager
def metadata_database(folder: Path) -> Iterator[MetadataDatabase]:
    """Create a database, and drop it in the end.

    A PostgreSQL that the environment names has to work; the one that may be at the default address need not.
    """
    given = os.environ.get(URL_VARIABLE)
    server = make_url(given or DEFAULT_URL).set(drivername="postgresql+psycopg")
    admin = create_engine(
        server, isolation_level="AUTOCOMMIT", poolclass=NullPool, connect_args={"connect_timeout": 5}
    )
    name = f"apitask_crash_{secrets.token_hex(6)}"
    try:
        _execute(admin, f"CREATE DATABASE {name}")
    except OperationalError as error:
        if given:
            raise
        note = f"no PostgreSQL at {DEFAULT_URL} and none in {URL_VARIABLE}: {str(error.orig).strip()}"
        database = MetadataDatabase(f"sqlite:///{folder / 'airflow.db'}", note)
        try:
            yield database
        finally:
            database.close()
        return
    database = MetadataDatabase(server.set(database=name).render_as_string(hide_password=False))
    try:
        yield database
    finally:
        database.close()
        _execute(admin, f"DROP DATABASE {name} WITH (FORCE)")


def _execute(engine: Engine, statement: str) -> None:
    with engine.connect() as connection:
        connection.execute(text(statement))
