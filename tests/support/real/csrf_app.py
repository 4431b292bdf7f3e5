"""A Django project in one file, run by ``csrf_server`` in a process of its own: settings are per process.

``python -m tests.support.real.csrf_app OPTIONS`` takes a JSON object, prints the port it listens on, then
obeys one command a line on standard input (``history``, ``rotate``) with one line of JSON each, until the
input ends.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import django  # type: ignore[import-untyped]
from django.conf import settings  # type: ignore[import-untyped]
from django.core.cache import cache  # type: ignore[import-untyped]
from django.core.management import call_command  # type: ignore[import-untyped]
from django.core.wsgi import get_wsgi_application  # type: ignore[import-untyped]
from django.http import HttpRequest, HttpResponse, JsonResponse  # type: ignore[import-untyped]
from django.middleware.csrf import get_token  # type: ignore[import-untyped]
from django.urls import path  # type: ignore[import-untyped]
from django.views.decorators.csrf import ensure_csrf_cookie  # type: ignore[import-untyped]

from tests.support.real import Jobs, Reply
from tests.support.real.csrf_server import PASSWORD, USER
from tests.support.real.wsgi import WsgiServer

View: TypeAlias = Callable[..., HttpResponse]

JOBS: Final = Jobs()
_SECRETS: Final[set[str]] = set()
_REVOKED: Final[set[str]] = set()
LOGIN_FORM: Final = "login.html"
_FORM: Final = "<!DOCTYPE html><form method=post>{% csrf_token %}{{ form }}<button>Log in</button></form>"


def configure(*, sap: bool, header: str, database: str | None) -> None:
    """Set Django up.

    :param sap: the token belongs to a server-side session and is fetched by a header; else it is Django's
        default, a cookie that the header has to match.
    :param header: the request header that carries the token.
    :param database: file of the users, for Django's own login in front of the jobs; None for no login.
    """
    login: dict[str, Any] = {
        "INSTALLED_APPS": ["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions"],
        "DATABASES": {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": database}},
        "LOGIN_URL": "/login/",
        "PASSWORD_HASHERS": ["django.contrib.auth.hashers.MD5PasswordHasher"],
        "TEMPLATES": [
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "OPTIONS": {"loaders": [("django.template.loaders.locmem.Loader", {LOGIN_FORM: _FORM})]},
            }
        ],
    }
    settings.configure(
        SECRET_KEY="of a server that lives for a test",
        ALLOWED_HOSTS=["127.0.0.1", "localhost"],
        ROOT_URLCONF=__name__,
        USE_TZ=True,
        MIDDLEWARE=[
            f"{__name__}.revocation",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            *([f"{__name__}.fetch"] if sap else []),
            *([f"{__name__}.login_wall"] if database else []),
        ],
        SESSION_ENGINE="django.contrib.sessions.backends.cache",
        CSRF_USE_SESSIONS=sap,
        CSRF_HEADER_NAME=_meta(header),
        CSRF_FAILURE_VIEW=f"{__name__}.required" if sap else "django.views.csrf.csrf_failure",
        CSRF_HEADER=header,
        **(login if database else {}),
    )
    if database:
        django.setup()
        call_command("migrate", verbosity=0)
        from django.contrib.auth import get_user_model, views  # type: ignore[import-untyped]

        get_user_model().objects.create_user(USER, password=PASSWORD)
        urlpatterns.append(path("login/", views.LoginView.as_view(template_name=LOGIN_FORM)))


def rotate() -> None:
    """Refuse every token given out so far: sessions are gone, cookies with a secret are ignored."""
    cache.clear()
    _REVOKED.update(_SECRETS)


def revocation(get_response: View) -> View:
    """Middleware: a revoked cookie was never sent."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.COOKIES.get(settings.CSRF_COOKIE_NAME) in _REVOKED:
            del request.COOKIES[settings.CSRF_COOKIE_NAME]
        response = get_response(request)
        if settings.CSRF_COOKIE_NAME in response.cookies:
            _SECRETS.add(response.cookies[settings.CSRF_COOKIE_NAME].value)
        return response

    return middleware


def login_wall(get_response: View) -> View:
    """Middleware: ``login_required`` for everything but the login itself, without a session of its own."""

    def middleware(request: HttpRequest) -> HttpResponse:
        from django.contrib.auth import get_user
        from django.contrib.auth.views import redirect_to_login

        request.user = get_user(request)
        if request.path != settings.LOGIN_URL and not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        return get_response(request)

    return middleware


def fetch(get_response: View) -> View:
    """Middleware: ``X-CSRF-Token: Fetch`` on any safe request is answered with a token in that header."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        asked = request.META.get(settings.CSRF_HEADER_NAME, "").lower() == "fetch"
        if asked and request.method in ("GET", "HEAD"):
            response.headers[settings.CSRF_HEADER] = get_token(request)
        return response

    return middleware


def required(request: HttpRequest, reason: str = "") -> HttpResponse:
    """What SAP says to a missing or stale token."""
    headers = {settings.CSRF_HEADER: "Required"}
    return HttpResponse(
        "CSRF token validation failed", status=403, content_type="text/plain", headers=headers
    )


@ensure_csrf_cookie  # type: ignore[untyped-decorator]
def token(request: HttpRequest) -> HttpResponse:
    """``GET /token/``: the cookie, and the token in the body."""
    request.session["seen"] = request.session.get("seen", 0) + 1
    return JsonResponse({"csrfToken": get_token(request)})


def jobs(request: HttpRequest) -> HttpResponse:
    """``GET /jobs/`` counts them, ``POST /jobs/`` submits one."""
    if request.method != "POST":
        return JsonResponse({"jobs": len(JOBS)})
    number = JOBS.submit()
    headers = {"Location": f"/jobs/{number}/"}
    return JsonResponse({"id": number, "status": "running"}, status=202, headers=headers)


def job(request: HttpRequest, number: int) -> HttpResponse:
    """``GET /jobs/N/`` polls, ``DELETE /jobs/N/`` cancels."""
    return _answer(JOBS.cancel(number) if request.method == "DELETE" else JOBS.status(number))


def result(request: HttpRequest, number: int) -> HttpResponse:
    """``GET /jobs/N/result/``."""
    return _answer(JOBS.result(number))


urlpatterns = [
    path("token/", token),
    path("jobs/", jobs),
    path("jobs/<int:number>/", job),
    path("jobs/<int:number>/result/", result),
]


def _answer(reply: Reply) -> HttpResponse:
    status, body = reply
    return JsonResponse(dict(body), status=status)


def _meta(header: str) -> str:
    return "HTTP_" + header.upper().replace("-", "_")


def _obey(server: WsgiServer, command: str) -> Any:
    match command:
        case "history":
            records = [dataclasses.asdict(r) for r in server.history]
            return [record | {"body": record["body"].decode("latin-1")} for record in records]
        case "rotate":
            return rotate()
    raise ValueError(command)


def main(options: dict[str, Any]) -> None:
    """Serve until standard input ends."""
    configure(sap=options["sap"], header=options["header"], database=options["database"])
    JOBS.polls, JOBS.seconds = options["polls"], options["seconds"]
    with WsgiServer(get_wsgi_application(), url_scheme=options["url_scheme"]) as server:
        print(server.port, flush=True)
        for line in sys.stdin:
            print(json.dumps(_obey(server, line.strip())), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
