"""The URL that a service calls: made by a worker, read by Airflow's API server.

``<callback_base_url>/apitask/callback/<token>``. The token names the task instance and the submit, with the
time until which it is good, and is signed. Whoever has the URL can say "look now", and where there is nowhere
to look, how the job ended: it is a secret, and is kept out of logs and of everything that is stored.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import conf

from airflow_provider_apitask.core.callback_spec import expiry_of
from airflow_provider_apitask.core.errors import ParameterError

if TYPE_CHECKING:
    from itsdangerous import URLSafeSerializer

__all__ = ["ROUTE", "URL_PREFIX", "Claim", "callback_url", "read_token", "sign", "token_of_url"]

#: Where Airflow's API server has the routes of this package.
URL_PREFIX = "/apitask"
#: Below that.
ROUTE = "/callback"
_SECTION = "apitask"
#: Keeps these signatures apart from others that are made with the same key.
_SALT = "apitask.callback.1"
#: A longer token is none of ours, characters.
_LONGEST_TOKEN = 4096


@dataclass(frozen=True, slots=True)
class Claim:
    """What a token says: whose callback it is.

    :param callback_id: of the submit, see ``core.state.State``.
    """

    dag_id: str
    task_id: str
    run_id: str
    map_index: int
    callback_id: str


def callback_url(claim: Claim) -> str:
    """The URL for a claim, always the same one.

    :raises ParameterError: where the configuration does not say what it needs.
    """
    return f"{_base_url()}{URL_PREFIX}{ROUTE}/{sign(claim)}"


def token_of_url(url: str) -> str:
    """The part of a callback's URL that is secret."""
    return url.rpartition("/")[2]


def sign(claim: Claim) -> str:
    """The token of a claim.

    :raises ParameterError: where there is no key to sign with.
    """
    token = _serializer().dumps(list(astuple(claim)))
    return token.decode() if isinstance(token, bytes) else token


def read_token(token: str, now: float) -> Claim | None:
    """Read a token; None for one that is forged, tampered with or expired, or no token at all.

    :param now: Unix time.
    :raises ParameterError: where there is no key to check it with.
    """
    from itsdangerous import BadData

    if len(token) > _LONGEST_TOKEN:
        return None
    try:
        said = _serializer().loads(token)  # compares in constant time
    except BadData:
        return None
    if not isinstance(said, list) or list(map(type, said)) != [str, str, str, int, str]:
        return None
    claim = Claim(*said)
    expires_at = expiry_of(claim.callback_id)
    return claim if expires_at is not None and now < expires_at else None


def _serializer() -> URLSafeSerializer:
    from hashlib import sha256

    from itsdangerous import URLSafeSerializer

    # Not SHA-1, the default; the last key signs, all of them are accepted.
    options: dict[str, Any] = {"digest_method": sha256, "key_derivation": "hmac"}
    return URLSafeSerializer(_keys(), salt=_SALT, signer_kwargs=options)


def _keys() -> list[str]:
    """The keys, the newest last. A list is written newest first, as that of Fernet keys."""
    for section, option in ((_SECTION, "callback_secret"), ("core", "fernet_key")):
        parts = (conf.get(section, option, fallback="") or "").split(",")
        if keys := [key for part in parts if (key := part.strip())]:
            return keys[::-1]
    raise ParameterError(
        "A callback needs a key that signs its URL, and there is none: set [apitask] callback_secret (or the "
        "environment variable AIRFLOW__APITASK__CALLBACK_SECRET) to the same long random text on workers and "
        "API server; [core] fernet_key is taken where that is set on both.",
        parameter="callback",
    )


def _base_url() -> str:
    base = (conf.get(_SECTION, "callback_base_url", fallback="") or "").strip().rstrip("/")
    if not base:
        raise ParameterError(
            "A callback needs to know where the service can reach Airflow: set [apitask] callback_base_url "
            "(or the environment variable AIRFLOW__APITASK__CALLBACK_BASE_URL) to the public URL of the API "
            "server, such as https://airflow.example.com.",
            parameter="callback",
        )
    parts = urlsplit(base)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ParameterError(
            "[apitask] callback_base_url must be an http(s) URL without query, such as "
            f"https://airflow.example.com, not {base.partition('?')[0]!r}.",
            parameter="callback",
        )
    if parts.username is not None or parts.password is not None:
        raise ParameterError(
            "[apitask] callback_base_url has a user name or password in it; leave that out.",
            parameter="callback",
        )
    return base
