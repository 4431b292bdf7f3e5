"""The table of the operation log, and the view with the names of Qarion ETL's."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "operation_log_1"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create table, indexes and view."""
    op.create_table(
        "apitask_operation_log",
        sa.Column("record_id", sa.String(64), primary_key=True),
        sa.Column("operation_id", sa.String(64), nullable=False),
        sa.Column("operation_type", sa.String(32), nullable=False),
        sa.Column("operation_subtype", sa.String(32), nullable=False),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("success", sa.Boolean(create_constraint=False)),
        sa.Column("dag_id", sa.String(250)),
        sa.Column("task_id", sa.String(250)),
        sa.Column("run_id", sa.String(250)),
        sa.Column("map_index", sa.Integer, nullable=False),
        sa.Column("try_number", sa.Integer),
        sa.Column("start_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("end_time", sa.DateTime(timezone=True)),
        sa.Column("api_conn_id", sa.String(250)),
        sa.Column("method", sa.String(32)),
        sa.Column("url", sa.Text),
        sa.Column("http_status", sa.Integer),
        sa.Column("job_id", sa.String(250)),
        sa.Column("job_status", sa.String(250)),
        sa.Column("requests", sa.Integer, nullable=False),
        sa.Column("retries", sa.Integer, nullable=False),
        sa.Column("bytes_sent", sa.BigInteger, nullable=False),
        sa.Column("bytes_received", sa.BigInteger, nullable=False),
        sa.Column("validation", sa.String(32)),
        sa.Column("error_kind", sa.String(64)),
        sa.Column("error_message", sa.Text),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("operation_details", sa.Text, nullable=False),
    )
    for name, columns in {
        "time": ["start_time"],
        "task": ["dag_id", "task_id", "start_time"],
        "operation": ["operation_id"],
    }.items():
        op.create_index(f"apitask_operation_log_{name}", "apitask_operation_log", columns)
    op.execute(
        "CREATE VIEW xt_operation_logs AS SELECT operation_id, operation_type, operation_subtype, "
        "dag_id AS flow_id, task_id, status, success, operation_details, start_time, end_time, "
        "run_id AS batch_id, error_message FROM apitask_operation_log"
    )


def downgrade() -> None:
    """Remove them, with all that was logged."""
    op.execute("DROP VIEW xt_operation_logs")
    op.drop_table("apitask_operation_log")
