"""Run by alembic: applies the migrations over the connection that ``upgrade`` has opened."""

from __future__ import annotations

from alembic import context

from airflow_provider_apitask.oplog.migrations import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
with context.begin_transaction():
    context.run_migrations()
