"""The request that comes next in a call."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import quote

from airflow_provider_apitask.core.api import Api
from airflow_provider_apitask.core.call import Call, Mode
from airflow_provider_apitask.core.callback_spec import PLACEHOLDER as CALLBACK_URL
from airflow_provider_apitask.core.errors import AnswerError, NothingToFollowError
from airflow_provider_apitask.core.idempotency import PLACEHOLDER as KEY
from airflow_provider_apitask.core.messages import Purpose, Request
from airflow_provider_apitask.core.page_request import page_request, without_body
from airflow_provider_apitask.core.pagination import Paging
from airflow_provider_apitask.core.request_spec import RequestSpec
from airflow_provider_apitask.core.state import Phase, State
from airflow_provider_apitask.core.storable import is_masked
from airflow_provider_apitask.core.templating import replaced

__all__ = ["CANCEL_TIMEOUT", "known_value", "next_request", "polled_url"]

#: Longest wait for the answer to a cancel request, seconds.
CANCEL_TIMEOUT = 10.0


def next_request(call: Call, api: Api, state: State) -> Request:
    """Build the request that a call sends next.

    :raises ApiTaskError: where it cannot be built, or may not be sent (:meth:`Api.build`).
    """
    build = partial(
        api.build, timeout=call.timeout, max_bytes=call.max_bytes, csrf_endpoint=call.csrf_endpoint
    )
    paging = Paging.of(state.paging, call.pagination)
    # What asks for a result, or one page of it.
    ask = build if call.pagination is None else partial(page_request, call.pagination, paging, build)
    if state.phase is Phase.SUBMIT:
        spec = _filled(call, state)
        request = (ask if call.mode is Mode.SYNC else build)(spec, Purpose.SUBMIT)
        header = call.idempotency.header if call.idempotency is not None else None
        key = state.idempotency_key
        return request.with_headers((header, key)) if header is not None and key is not None else request
    if call.mode is Mode.SYNC:
        if state.result_url is None:
            return ask(call.request, Purpose.RESULT)  # another page; a key would get the first one again
        return ask(without_body(_filled(call, state)), Purpose.RESULT, url=state.result_url)
    lookup = partial(known_value, call, api, state)
    if state.phase is Phase.RECONCILE:
        return build(call.job.reconcile.request, Purpose.RECONCILE, lookup=lookup)
    if state.phase is Phase.CANCEL:
        spec = call.job.cancel_request
        request = build(spec, Purpose.CANCEL, lookup=lookup, url=_url_for(spec, call, api, state))
        # A process that is being killed has little time left.
        connect, read = request.timeout
        return replace(request, timeout=(min(connect, CANCEL_TIMEOUT), min(read, CANCEL_TIMEOUT)))
    if state.phase is Phase.EXPLAIN:
        spec = call.job.error_request
        return build(spec, Purpose.POLL, lookup=lookup, url=_url_for(spec, call, api, state))
    if state.phase is Phase.FETCH and not state.inline:
        spec = call.job.result_request or RequestSpec()
        url = _usable(state.result_url) or _url_for(spec, call, api, state)
        return ask(spec, Purpose.RESULT, lookup=lookup, url=url)
    spec = call.job.status_request or RequestSpec()
    linked = paging is not None and call.pagination is not None and call.pagination.follows_links
    if state.status_url is None and spec.endpoint is None and not linked:
        raise _nothing_to_ask(state)
    # In its own request {status_url} can only be the URL that the server gave.
    lookup = partial(_stored_value, call, state)
    if state.phase is Phase.FETCH:
        return ask(spec, Purpose.RESULT, lookup=lookup, url=_usable(state.status_url))
    request = build(spec, Purpose.POLL, lookup=lookup, url=_usable(state.status_url))
    return replace(request, reads_see_other=not call.job.expects_status)


def _filled(call: Call, state: State) -> RequestSpec:
    """Return the submission with its key and the callback URL in place of their placeholders."""
    texts = {}
    if state.callback_id is not None and call.callback_url is not None:
        texts[CALLBACK_URL] = call.callback_url(state.callback_id)
    if state.idempotency_key is not None:
        texts[KEY] = state.idempotency_key
    spec = call.request
    if not texts:
        return spec
    # A URL cannot hold the colon and slashes of another one as they are.
    endpoint = replaced(spec.endpoint, {name: quote(text, safe="") for name, text in texts.items()})
    params, headers, body = (replaced(part, texts) for part in (spec.params, spec.headers, spec.body))
    return replace(spec, endpoint=endpoint, params=params, headers=headers, body=body)


def _nothing_to_ask(state: State) -> NothingToFollowError:
    if state.phase is Phase.CANCEL:
        return NothingToFollowError(
            "job.cancel_request names no endpoint, and the server gave no URL of the job."
        )
    if state.phase is Phase.FETCH:
        return NothingToFollowError(
            "The result was in an answer that only an earlier process had, and there is nowhere to ask for "
            "it again: give job.result_request."
        )
    return NothingToFollowError(
        "Nothing says where to ask for the job's status: give job.status_request, or a handle with a "
        "status_url."
    )


def polled_url(call: Call, api: Api, state: State) -> str | None:
    """Return the URL that status checks go to; None if neither the author nor the server named one.

    :raises ApiTaskError: if ``job.status_request`` cannot be built.
    """
    spec = call.job.status_request
    if spec is None or (spec.endpoint is None and state.status_url is None):
        return _usable(state.status_url)  # type: ignore[no-any-return]
    lookup = partial(_stored_value, call, state)
    return api.build(spec, Purpose.POLL, lookup=lookup, url=_usable(state.status_url)).url


def _url_for(spec: RequestSpec, call: Call, api: Api, state: State) -> str | None:
    """Return the URL of the job for a request that names no endpoint."""
    if spec.endpoint is not None:
        return None
    url = polled_url(call, api, state)
    if url is None:
        raise _nothing_to_ask(state)
    return url


def known_value(call: Call, api: Api, state: State, path: str) -> Any:
    """Return the value of a ``{path}``: named by the author, known of the job, or read from a response.

    ``{status_url}`` is the URL that status checks go to, unless ``job.extract`` names it.

    :raises AnswerError: if it has no value, listing the names that have one.
    """
    if path == "status_url" and path not in (call.job.extract or {}):
        url = polled_url(call, api, state)
        if url is not None:
            return url
    return _stored_value(call, state, path)


def _usable(value: Any) -> Any:
    """Return what a request needs of the state, unless it was not stored.

    :raises NothingToFollowError: then.
    """
    if is_masked(value):
        raise NothingToFollowError(
            "The server gave a signed URL or a credential for this job, which is not stored, so only the "
            "process that received it can follow the job. The job may still be running. Configure "
            "job.status_request and job.result_request with endpoints that the connection's credentials open."
        )
    return value


def _stored_value(call: Call, state: State, path: str) -> Any:
    """Return the value of a ``{path}`` from the state. An id guessed from a URL comes last."""
    known = {
        "job_id": state.job_id,
        "status_url": state.status_url,
        "result_url": state.result_url,
        "idempotency_key": state.idempotency_key,
    }
    known = {name: value for name, value in known.items() if value is not None}
    named = path in (call.job.extract or {})
    guessed = path == "job_id" and call.job.job_id is None
    if path in state.values and (named or guessed or path not in known):
        return _usable(state.values[path])
    if path in known:
        return _usable(known[path])
    raise AnswerError(
        f"{{{path}}} has no value: nothing in the earlier answers of this call is at that path. "
        f"Known: {', '.join(sorted({*state.values, *known})) or 'nothing'}.",
        looked_for=path,
    )
