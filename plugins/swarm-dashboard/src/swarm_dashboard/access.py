"""Who may see the page: whoever has the token, or shows the certificate of a member; and only to read."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
"""Names under which a browser may know a page that only this machine reaches."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Access:
    """Lets nobody through who may not see the page, and adds headers that keep the page to itself.

    Args:
        application: what it guards.
        token: what opens the page; empty if TLS has checked a certificate.
        hosts: names under which the page may be asked for, so that no other site's name can be made to lead here; None:
            any.
        port: of the page: cookies hold for all ports of a host, so that the cookie needs a name of its own.
        encrypted: whether the page is served over TLS.
    """

    def __init__(
        self, application: ASGIApp, *, token: str, hosts: Collection[str] | None, port: int, encrypted: bool
    ) -> None:
        self._application = application
        self._token = token
        self._hosts = hosts
        self._cookie = f"swarm_page_{port}"
        self._encrypted = encrypted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if scope["type"] != "http":
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        await self._answer(scope)(scope, receive, guarded)

    def _answer(self, scope: Scope) -> ASGIApp:
        headers = Headers(scope=scope)
        if scope["method"] not in {"GET", "HEAD"}:
            return PlainTextResponse("This page can only be read.", 405, {"Allow": "GET, HEAD"})
        if self._hosts is not None and _host(headers.get("host", "")) not in self._hosts:
            return PlainTextResponse("This page is not served under that name.", 421)
        if not self._token:
            return self._application
        given = parse_qs(scope["query_string"].decode("ascii", "replace")).get("token", [""])[0]
        if given and self._is_token(given):
            response = RedirectResponse("/", 303)
            response.set_cookie(self._cookie, self._token, httponly=True, samesite="lax", secure=self._encrypted)
            return response
        if self._is_token(self._cookie_of(headers)):
            return self._application
        return PlainTextResponse("This page opens with the address that `swarm` printed, which ends in ?token=…\n", 401)

    def _is_token(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self._token.encode())

    def _cookie_of(self, headers: Headers) -> str:
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return ""
        return found.value if found else ""


def _host(header: str) -> str:
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""
