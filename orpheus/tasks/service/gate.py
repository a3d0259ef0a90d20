"""What every request passes: who may ask, headers of every answer, one line of the log, metrics, and slow readers."""

import asyncio
import hashlib
import hmac
import json
import logging
import time
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

from orpheus.tasks.service.answers import Error, ErrorAnswer
from orpheus.tasks.service.failures import Failure
from orpheus.tasks.service.metrics import Metrics
from orpheus.tasks.service.settings import Settings

log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

LOOPBACK = frozenset(["localhost", "127.0.0.1", "[::1]"])
_OPEN = frozenset(["/", "/health", "/docs", "/openapi.json", "/favicon.ico"])  # what holds no secret
_COOKIE, _COOKIE_SECONDS = "orpheus_audio", 3600
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",  # other sites' pages may not even play what is here
}


class Gate:
    """ASGI middleware around all of the service.

    Args:
        app: Behind it.
        metrics: Are told of every request.
        settings: Its `send_seconds`.
        token: That requests must know; None where everybody who reaches the address may ask.
        hosts: Names under which the service may be asked; None for any.
    """

    def __init__(
        self, app: App, *, metrics: Metrics, settings: Settings, token: str | None, hosts: frozenset[str] | None
    ):
        self._app, self._metrics, self._settings = app, metrics, settings
        self._token = token.encode() if token else None
        self._hosts = hosts

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        began, answer = time.perf_counter(), _Answer(send, self._settings.send_seconds)
        metrics, trace = self._metrics, ""
        metrics.under_way.inc()
        try:
            try:
                cookie = self._check(scope)
            except Failure as failure:
                await error_response(failure)(scope, receive, answer.send)
            else:
                answer.cookie = cookie
                await self._app(scope, self._counted(receive), answer.send)
        except _TooSlow:
            answer.status = 499
        except Exception:  # a defect of ours: the log has where
            trace = traceback.format_exc(limit=-8)
            if not answer.started:
                said = error_response(Failure(500, "defect", "a defect of the service; its log says where"))
                await said(scope, receive, answer.send)
        finally:
            metrics.under_way.dec()
            seconds = time.perf_counter() - began
            route = getattr(scope.get("route"), "path", "unmatched")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            metrics.requests.labels(method, route, str(answer.status)).inc()
            metrics.seconds.labels(route).observe(seconds)
            metrics.sent.inc(answer.bytes)
            _log(method, route, answer, seconds, trace)

    def _counted(self, receive: Receive) -> Receive:
        async def counting() -> Message:
            message = await receive()
            self._metrics.received.inc(len(message.get("body", b"")))
            return message

        return counting

    def _check(self, scope: MutableMapping[str, Any]) -> str:
        """Refuse who may not ask; returns a cookie to give, or nothing.

        Raises:
            Failure: 403 for another host's name or another site's page, 401 without the token.
        """
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._hosts is not None and _hostname(host) not in self._hosts:
            # A name of somebody else's that leads here: its pages could read what is on this computer.
            raise Failure(403, "wrong_host", "ask this service as localhost or 127.0.0.1")
        origin = headers.get("origin")
        if origin is not None and urlsplit_or_none(origin) != host:
            raise Failure(403, "other_origin", "pages of other sites may not ask this service")
        path = scope["path"]
        if self._token is None or path in _OPEN or path.startswith("/static/"):
            return ""
        scheme, _, given = headers.get("authorization", "").partition(" ")
        ticket = _cookie(headers.get("cookie", ""))
        if scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode("utf-8", "replace"), self._token):
            return "" if self._left(ticket) > _COOKIE_SECONDS / 2 else self._new_cookie(scope)
        # <audio> cannot send headers; its cookie is good for nothing else.
        if scope["method"] in ("GET", "HEAD") and path.endswith("/audio") and self._left(ticket) > 0:
            return ""
        raise Failure(401, "no_token", "this service needs its token, as Authorization: Bearer TOKEN")

    def _new_cookie(self, scope: MutableMapping[str, Any]) -> str:
        until = str(int(time.time()) + _COOKIE_SECONDS)
        secure = "; Secure" if scope.get("scheme") == "https" else ""
        value = f"{until}.{self._signed(until)}"
        return f"{_COOKIE}={value}; Max-Age={_COOKIE_SECONDS}; Path=/api; HttpOnly; SameSite=Strict{secure}"

    def _left(self, ticket: str) -> float:
        """Seconds for which a cookie is still good; 0 of one that is not from here."""
        until, _, signature = ticket.partition(".")
        if not (until.isascii() and until.isdecimal() and len(until) < 12):
            return 0
        if not hmac.compare_digest(signature.encode(), self._signed(until).encode()):
            return 0
        return max(0.0, int(until) - time.time())

    def _signed(self, until: str) -> str:
        return hmac.new(self._token or b"", f"{_COOKIE} {until}".encode(), hashlib.sha256).hexdigest()


def urlsplit_or_none(origin: str) -> str | None:
    """Host and port of an origin."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _hostname(host: str) -> str:
    """A Host header without its port."""
    return (host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0]).lower()


def _cookie(header: str) -> str:
    try:
        found = SimpleCookie(header).get(_COOKIE)
    except CookieError:
        return ""
    return found.value if found and found.value.isascii() else ""


class _TooSlow(Exception):
    """The client does not read its answer."""


class _Answer:
    """An answer on its way: its status and bytes, with the headers that all have."""

    def __init__(self, send: Send, seconds: float):
        self._send, self._seconds = send, seconds
        self.status, self.bytes, self.cookie = 499, 0, ""  # 499: the client has gone before it came to an answer
        self.started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.started = message["status"], True
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            headers.setdefault("cache-control", "no-store")
            if self.cookie:
                headers.append("set-cookie", self.cookie)
        else:
            self.bytes += len(message.get("body", b""))
        try:
            await asyncio.wait_for(self._send(message), self._seconds)
        except asyncio.TimeoutError:
            raise _TooSlow from None


_METHODS = frozenset(["GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "PATCH"])


def error_response(failure: Failure) -> JSONResponse:
    """The answer that an error is."""
    content = ErrorAnswer(error=Error(code=failure.code, message=failure.message))
    headers = dict(failure.headers)
    if failure.status == 401:
        headers["www-authenticate"] = "Bearer"
    if failure.status in (408, 413):  # what still comes of the request is not waited for
        headers["connection"] = "close"
    return JSONResponse(content.model_dump(), failure.status, headers)


def _log(method: str, route: str, answer: _Answer, seconds: float, trace: str) -> None:
    """One line of JSON; of what a client sent only its method, where it is one, and the route that it matched."""
    line = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "method": method,
        "route": route,
        "status": answer.status,
        "ms": round(1000 * seconds, 1),
        "bytes": answer.bytes,
    }
    if trace:
        line["trace"] = trace
    log.log(logging.ERROR if trace else logging.INFO, "%s", json.dumps(line))
