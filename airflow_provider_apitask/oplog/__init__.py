"""The operation log: what every API call did, given to hooks.

:func:`emit` is the one way in, for workers, the command line and the API server; on an event loop it
is :func:`aemit`. See ``core.records`` for what a record is, and ``core.ledger`` for how it is made.
"""

from __future__ import annotations

from airflow_provider_apitask.oplog.account import Account, new_id
from airflow_provider_apitask.oplog.dispatch import aemit, emit

__all__ = ["Account", "aemit", "emit", "new_id"]
