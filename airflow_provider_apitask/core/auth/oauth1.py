"""OAuth 1.0 signatures (RFC 5849); the protocol work is oauthlib's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import quote

from airflow_provider_apitask.core.auth.base import Auth
from airflow_provider_apitask.core.errors import AuthenticationError
from airflow_provider_apitask.core.messages import Request

__all__ = ["SIGNATURE_METHODS", "OAuth1Auth", "OAuth1Settings"]

SIGNATURE_METHODS = (
    "HMAC-SHA1",
    "HMAC-SHA256",
    "HMAC-SHA512",
    "RSA-SHA1",
    "RSA-SHA256",
    "RSA-SHA512",
    "PLAINTEXT",
)
_FORM = "application/x-www-form-urlencoded"
#: What oauthlib leaves alone in a query, besides letters and digits.
_QUERY = "%=&;:+~,*@!()/?'$"


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth1Settings:
    """Who signs, and how.

    :param rsa_key: private key in PEM, for the RSA methods (oauthlib's extra ``signedtoken``).
    """

    client_key: str
    client_secret: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    token_secret: str = field(default="", repr=False)
    signature_method: str = "HMAC-SHA1"
    rsa_key: str = field(default="", repr=False)
    realm: str = ""


class OAuth1Auth(Auth):
    """Signs each request anew, with a nonce and a timestamp of its own."""

    def __init__(self, settings: OAuth1Settings) -> None:
        self._settings = settings

    @property
    def secrets(self) -> Iterable[str]:
        """Both secrets, the token and the key."""
        s = self._settings
        return (s.client_secret, s.token, s.token_secret, s.rsa_key)

    def signed(self, request: Request) -> Request:
        """Add the Authorization field."""
        from oauthlib.oauth1 import Client

        s = self._settings
        client = Client(
            s.client_key,
            client_secret=s.client_secret,
            resource_owner_key=s.token or None,
            resource_owner_secret=s.token_secret,
            signature_method=s.signature_method,
            rsa_key=s.rsa_key or None,
            realm=s.realm or None,
        )
        # Only the parameters of a form are part of the signature (RFC 5849 §3.4.1.3.1).
        form = request.body if isinstance(request.body, bytes) else b""
        is_form = (request.headers.get("Content-Type") or "").lower().startswith(_FORM)
        try:
            _, fields, _ = client.sign(
                _strict(request.url),
                request.method,  # type: ignore[arg-type]  # the stubs know some methods only
                form.decode() if is_form else None,
                {"Content-Type": _FORM} if is_form else None,
            )
        except ValueError:
            # Not oauthlib's text: it quotes the whole form.
            raise AuthenticationError(
                f"{request.method} {request.url} cannot be signed (OAuth 1.0): its query or its form is not "
                "form-urlencoded.",
                url=request.url,
            ) from None
        return request.with_headers(("Authorization", fields["Authorization"]))


def _strict(url: str) -> str:
    """A URL with the same parameters, as oauthlib wants it: it refuses ``[``, ``|`` and others in a query."""
    path, mark, query = url.partition("?")
    return f"{path}{mark}{quote(query, safe=_QUERY)}"
