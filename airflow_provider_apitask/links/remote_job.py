"""The link from a task instance to the job on the server, while it runs and afterwards."""

from __future__ import annotations

import logging
from typing import Any

from airflow.providers.common.compat.sdk import BaseOperatorLink

__all__ = ["LINK_KEY", "RemoteJobLink", "push_link", "wants_link"]

log = logging.getLogger(__name__)

#: XCom key of the link, where Airflow looks for it.
LINK_KEY = "api_job_link"


class RemoteJobLink(BaseOperatorLink):
    """The button "Remote job" of a task, see ``AsyncJob.link_path``."""

    name = "Remote job"

    @property
    def xcom_key(self) -> str:
        """Where Airflow keeps the link."""
        return LINK_KEY

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The link, which Airflow stores when a worker has done with a task, also to defer it.

        :param operator: as it was executed.
        :param ti_key: of the task instance.
        :returns: empty for none.
        """
        known = getattr(operator, "job_link", None)
        # What was stored already would be lost: by a trigger, whose end this process has not seen.
        return known if known is not None else _stored(ti_key)


def wants_link(job: Any) -> bool:
    """Whether a job, as a parameter, may give a link; one that is a template may."""
    return job is not None and (not isinstance(job, dict) or job.get("link_path") is not None)


def push_link(task_instance: Any, link: str) -> None:
    """Store the link of a job that is waited for; what goes wrong is logged, as the job runs."""
    try:
        task_instance.xcom_push(key=LINK_KEY, value=link)
    except Exception as error:  # noqa: BLE001 - the job must not be lost over what people read
        log.warning("The link to the job could not be stored in XCom: %r", error)


def _stored(task_instance: Any) -> str:
    from airflow.providers.common.compat.sdk import XCom

    names = ("dag_id", "task_id", "run_id", "map_index")
    return XCom.get_one(key=LINK_KEY, **{name: getattr(task_instance, name) for name in names}) or ""
