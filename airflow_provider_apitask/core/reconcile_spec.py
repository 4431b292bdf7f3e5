"""How to find a job whose submit got no answer, as an author declares it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from airflow_provider_apitask.core import checks
from airflow_provider_apitask.core.errors import ParameterError
from airflow_provider_apitask.core.extraction import check_path
from airflow_provider_apitask.core.kinds import Codes, Condition, Pairs, RequestLike, Seconds
from airflow_provider_apitask.core.request_spec import RequestSpec
from airflow_provider_apitask.core.templating import placeholders
from airflow_provider_apitask.core.value_object import ValueObject

__all__ = ["Reconcile"]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Reconcile(ValueObject):
    """How to find a job on the server, by something that its submit said of it.

    ``{idempotency_key}`` stands for the key of the submit, where there is one.

    :param request: request that lists jobs, or names the one: an endpoint or a dict.
    :param items: path of the list in the answer; by default the answer itself.
    :param match: what one of the items must have, to be the job: paths in it with their values,
        compared as text. By default every item is.
    :param extract: paths in the item, for names of ``job.extract`` that are elsewhere in it.
    :param job_id: path of the job's id in the item; by default that of the job.
    :param settle: seconds from the submit until a job that is not listed surely does not exist, 10 by
        default: the list may lag behind. After that the submit is sent again.
    :param exists_codes: HTTP codes by which the answer to a submit says that the job is there
        already, such as 409 where the author chose its id: then it is looked up and gone on with.
        By default such an answer is an error.
    """

    _parameter: ClassVar[str] = "job.reconcile"
    _forms: ClassVar[str] = "a dict with request, items and match"
    #: An endpoint alone will do where it names the one job.
    _text_field: ClassVar[str | None] = "request"

    request: RequestLike = None
    items: str | None = None
    match: Condition = None
    extract: Pairs = None
    job_id: str | None = None
    settle: Seconds = 10
    exists_codes: Codes = None

    def checked(self, parameter: str = "job.reconcile") -> Self:
        """Return it with its values normalised.

        :raises ParameterError: naming the field and what is allowed.
        """
        if self.request is None:
            raise ParameterError(
                f"{parameter}.request is missing: the request that lists jobs, such as '/jobs'.",
                parameter=f"{parameter}.request",
            )
        request = self.request
        if not checks.is_open(request):
            request = RequestSpec.parse(request, f"{parameter}.request")
            if request.endpoint is None:
                raise ParameterError(
                    f"{parameter}.request needs an endpoint.", parameter=f"{parameter}.request"
                )
        match = checks.mapping(self.match, f"{parameter}.match")
        extract = checks.mapping(self.extract, f"{parameter}.extract")
        settle = checks.number(10 if self.settle is None else self.settle, f"{parameter}.settle")
        checked = type(self)(
            request=request,
            items=self.items,
            match=match,
            extract=extract,
            job_id=self.job_id,
            settle=settle,
            exists_codes=checks.codes(self.exists_codes, f"{parameter}.exists_codes"),
        )
        for name, path in checked.named_paths(parameter):
            if path is not None and not checks.is_open(path):
                check_path(path, name)
        return checked

    def check_job(self, status_request: Any, requests: Mapping[str, Any], extract: Any) -> None:
        """Refuse a job that cannot be followed after a lookup: the headers of the submission are lost then.

        :param status_request: of the job as its author gave it.
        :param requests: the parsed requests of the job by name.
        :param extract: of the job.
        :raises ParameterError: naming the request and the remedy.
        """
        status = requests.get("status_request")
        if status_request is None or (status is not None and status.endpoint is None):
            raise ParameterError(
                "job.reconcile needs an endpoint in job.status_request: the response to the submission, "
                "which could name a status URL, is lost.",
                parameter="job.reconcile",
            )
        if checks.is_open(extract) or checks.is_open(self.extract):
            return
        named = {*(extract or ()), *(self.extract or ())}
        for name, request in requests.items():
            # Everywhere else {status_url} is the URL of this very request.
            lost = {"result_url"} | ({"status_url"} if name == "status_request" else set())
            for path in sorted((lost & set(request.placeholders())) - named):
                raise ParameterError(
                    f"job.{name} uses {{{path}}}, which a job found by job.reconcile does not have. Name its "
                    f"path in job.reconcile.extract, or write {{$.{path}}} for a field of a response body.",
                    parameter=f"job.{name}",
                )

    def named_paths(self, parameter: str) -> Iterator[tuple[str, Any]]:
        """Every path with the parameter that holds it."""
        yield f"{parameter}.items", self.items
        yield f"{parameter}.job_id", self.job_id
        for name in ("match", "extract"):
            given = getattr(self, name)
            if isinstance(given, Mapping):
                for key, value in given.items():
                    yield f"{parameter}.{name}[{key!r}]", key if name == "match" else value

    def placeholders(self) -> Iterator[str]:
        """All ``{path}`` placeholders."""
        if isinstance(self.request, RequestSpec):
            yield from self.request.placeholders()
        yield from placeholders(self.match)
