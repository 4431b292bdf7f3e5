"""Cookies that a response sets (RFC 6265 §5.2)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from airflow_provider_apitask.core.messages import Response
from airflow_provider_apitask.core.request_spec import has_control

__all__ = ["set_cookies"]

_MAX_AGE = re.compile(r"-?[0-9]{1,15}")
#: A cookie that expires before this date is deleted, whatever the server's clock says.
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def set_cookies(response: Response) -> dict[str, str]:
    """Return the cookies that a response sets, without those that it deletes.

    ``http.cookies`` is not used: its time grows with the square of a field's length.
    """
    found: dict[str, str] = {}
    for line in response.headers.get_all("Set-Cookie"):
        pair, _, attributes = line.partition(";")
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or not name or has_control(pair):
            continue
        if _is_deleted(attributes, response.headers.get("Date")):
            found.pop(name, None)
        else:
            found[name] = value
    return found


def _is_deleted(attributes: str, now: str | None) -> bool:
    """Return whether the attributes delete a cookie: ``Max-Age`` has priority over ``Expires``.

    :param now: the server's own time, because its clock sets ``Expires``.
    """
    pairs = (part.partition("=") for part in attributes.split(";"))
    values = {name.strip().lower(): value.strip() for name, _, value in pairs}
    if lifetime := values.get("max-age"):
        return bool(_MAX_AGE.fullmatch(lifetime)) and int(lifetime) <= 0
    expires, at = _time(values.get("expires")), _time(now) or _LONG_AGO
    return expires is not None and expires <= at


def _time(text: str | None) -> datetime | None:
    try:
        # Netscape's dates have hyphens.
        at = parsedate_to_datetime((text or "").replace("-", " "))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
