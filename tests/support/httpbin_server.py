"""httpbin: digest, basic and bearer authentication, cookies, redirects, an echo of any request.

::

    with HttpbinServer() as server:
        digest = HTTPDigestAuth("user", "passwd")
        requests.get(f"{server.url}/digest-auth/auth/user/passwd/SHA-256", auth=digest)

``/redirect-to?url=`` and ``/absolute-redirect/n`` redirect, ``/cookies/set`` sets, ``/anything`` echoes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpbin  # type: ignore[import-untyped]

from tests.support.real.wsgi import WsgiServer

if TYPE_CHECKING:
    import ssl

__all__ = ["HttpbinServer"]


class HttpbinServer(WsgiServer):
    """httpbin on waitress."""

    def __init__(self, *, ssl_context: ssl.SSLContext | None = None) -> None:
        httpbin.app.config["PROPAGATE_EXCEPTIONS"] = True  # to ``errors``, not to stderr
        super().__init__(httpbin.app, ssl_context=ssl_context)
