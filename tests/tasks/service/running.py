"""A service behind a real socket, its server in a thread of this process."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import uvicorn

from orpheus.tasks.service import app, server
from orpheus.tasks.service.served import Parts, open_all
from orpheus.tasks.service.settings import Settings


class Running:
    """Its port and what it shares."""

    def __init__(self, port: int, parts: Parts):
        self.port, self.parts = port, parts

    def connect(self) -> socket.socket:
        """A connection to it."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def ask(self, request: bytes) -> bytes:
        """What it answers until it closes the connection."""
        with self.connect() as connection:
            connection.sendall(request)
            return everything(connection)

    def alive(self) -> bool:
        """Whether it answers."""
        return self.ask(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").startswith(
            b"HTTP/1.1 200"
        )


def everything(connection: socket.socket) -> bytes:
    """What comes until the other side closes the connection."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(1 << 16):
            found += piece
    return found


def form(content: bytes, *, length: int | None = None, path: str = "/api/nothing/tags") -> bytes:
    """A request that sends a file; `length` where it says another one."""
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + content
    body += b"\r\n--b--\r\n" if length is None else b""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length or len(body)}\r\n"
    return f"{head}Content-Type: multipart/form-data; boundary=b\r\nConnection: close\r\n\r\n".encode() + body


@contextlib.contextmanager
def running(given, folder, settings: Settings) -> Iterator[Running]:
    """A service of runs and indexes."""
    folder.mkdir(exist_ok=True)
    parts = Parts(settings, folder)
    built = app.build(open_all([str(one) for one in given], parts), parts)
    with server._listen("127.0.0.1", 0) as listening:
        found = uvicorn.Server(server._config(built, settings))
        thread = threading.Thread(target=found.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            while not found.started:
                time.sleep(0.01)
            yield Running(listening.getsockname()[1], parts)
        finally:
            found.should_exit = True
            thread.join(30)
