"""The server around the application: its address, who may ask, slow clients, and an end that finishes what runs."""

import asyncio
import os
import re
import socket
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from orpheus.base import files
from orpheus.errors import ConfigError
from orpheus.tasks.service import app
from orpheus.tasks.service.gate import LOOPBACK
from orpheus.tasks.service.served import Parts, open_all
from orpheus.tasks.service.settings import Settings

_HEAD_SECONDS = 10.0  # for the head of a request, from its first byte or the connection on
_LARGEST_HEAD = 32 << 10
_SHORTEST_TOKEN = 16
_FOLDER = re.compile(r"orpheus-serve-(\d+)-\w+")


def serve(given: Sequence[str], *, host: str | None, port: int, token_file: Path | None, settings: Settings) -> None:
    """Serve until a signal ends it.

    Args:
        given: Runs and indexes.
        host: Address to listen on; None for 127.0.0.1.
        port: 0 for any that is free.
        token_file: Holds the token that requests must know.
        settings: The limits.

    Raises:
        ConfigError: a host without a token, a token that others may read or that is too short, a port that is taken.
    """
    if host is not None and token_file is None:
        raise ConfigError(
            f"--host {host}: others could ask, too; give --token-file FILE with a token that they must know"
        )
    token = read_token(token_file) if token_file is not None else None
    with _listen(host or "127.0.0.1", port) as listening:
        parts = Parts(settings, _folder())
        try:
            served = open_all(given, parts)
            built = app.build(served, parts, token=token, hosts=LOOPBACK if host is None else None)
            where = listening.getsockname()
            shown = f"[{where[0]}]" if ":" in where[0] else where[0]
            print(f"serving {', '.join(served)} at http://{shown}:{where[1]}", flush=True)
            uvicorn.Server(_config(built, settings)).run(sockets=[listening])
        finally:
            parts.close()


def read_token(path: Path) -> str:
    """The token in a file.

    Raises:
        ConfigError: not there, others may read it, too short, or not one line of printable ASCII.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"--token-file {path}: cannot be read ({getattr(error, 'strerror', None) or error})"
        ) from None
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise ConfigError(f"--token-file {path}: everybody on this computer may read or write it; chmod 600 {path}")
    if len(text) < _SHORTEST_TOKEN or not re.fullmatch(r"[!-~]+", text):
        raise ConfigError(
            f"--token-file {path}: a token is one line of at least {_SHORTEST_TOKEN} letters, digits and signs; "
            f"make one with: openssl rand -hex 24 > {path}"
        )
    return text


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=256)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"--host {host} --port {port}: cannot listen there ({reason}); give another --port") from None
    # asyncio sends small pieces at once (TCP_NODELAY) on sockets that say that they are TCP's; else an answer waits 40 ms.
    return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=listening.detach())


def _folder() -> Path:
    """A folder for uploads; those that killed services have left are removed."""
    where = Path(tempfile.gettempdir())
    for old in where.glob("orpheus-serve-*"):
        if (found := _FOLDER.fullmatch(old.name)) and not files.is_alive(int(found[1])):
            files.remove(old)
    return Path(tempfile.mkdtemp(prefix=f"orpheus-serve-{os.getpid()}-"))


def _config(application: Any, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        loop="asyncio",
        http=Patient,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=settings.connections,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=int(settings.request_seconds),
        h11_max_incomplete_event_size=_LARGEST_HEAD,
    )


class Patient(H11Protocol):
    """HTTP/1.1 that waits for the head of a request for a while, and not for ever."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._waiting = self.loop.call_later(_HEAD_SECONDS, self._given_up)

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        if self._waiting is None and (before is None or before.response_complete):
            self._waiting = self.loop.call_later(_HEAD_SECONDS, self._given_up)
        super().data_received(data)
        if self.cycle is not before:  # a head is complete
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _given_up(self) -> None:
        self._waiting = None
        if not self.transport.is_closing():
            self.transport.close()
