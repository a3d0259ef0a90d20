"""Files by ranges of bytes (RFC 9110, section 14), so that a player can begin anywhere."""

import email.utils
import hashlib
import mimetypes
import os
import re
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from orpheus.tasks.service.failures import Failure, missing

_PIECE = 256 << 10  # bytes that are read at a time
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
_TYPES = {".flac": "audio/flac", ".m4a": "audio/mp4", ".opus": "audio/ogg", ".oga": "audio/ogg", ".wav": "audio/wav"}


async def file_response(path: Path, request: Request) -> Response:
    """A file, or the range of it that is asked for; a request for several ranges gets all of it.

    Raises:
        Failure: the file is gone (404), or nothing of it is in the range (416).
    """
    try:
        descriptor = await anyio.to_thread.run_sync(os.open, path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        raise missing("the song's file is not there any more, or may not be read") from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise missing("what is in the song's place is no file")
        size = found.st_size
        changed = email.utils.formatdate(found.st_mtime, usegmt=True)
        tag = f'"{hashlib.sha256(f"{found.st_mtime_ns} {size}".encode()).hexdigest()[:24]}"'
        kind = (
            _TYPES.get(path.suffix.lower()) or mimetypes.guess_type(f"x{path.suffix}")[0] or "application/octet-stream"
        )
        headers = {
            "accept-ranges": "bytes",
            "last-modified": changed,
            "etag": tag,
            "cache-control": "private, no-cache",
        }
        if request.headers.get("if-none-match") == tag:
            os.close(descriptor)
            return Response(status_code=304, headers=headers)
        start, end = _range(request, size, tag, changed)
        if (start, end) != (0, size):
            headers["content-range"] = f"bytes {start}-{end - 1}/{size}"
        headers["content-length"] = str(end - start)
        status = 206 if "content-range" in headers else 200
        if request.method == "HEAD":
            os.close(descriptor)
            return Response(status_code=status, headers=headers, media_type=kind)
        return _FileAnswer(descriptor, start, end, status, headers, kind)
    except BaseException:
        os.close(descriptor)
        raise


def _range(request: Request, size: int, tag: str, changed: str) -> tuple[int, int]:
    """First byte and the one behind the last that are asked for; (0, size) for all."""
    found = _RANGE.fullmatch(request.headers.get("range", "").strip())
    if not found or found[1] + found[2] == "" or request.headers.get("if-range", tag) not in (tag, changed):
        return 0, size  # what is no range, or of another state of the file, is ignored
    if not found[1]:
        start, end = max(0, size - int(found[2])), size
    else:
        start, end = int(found[1]), min(size, int(found[2] or size) + 1)
        if found[2] and int(found[2]) < start:
            return 0, size
    if start >= end:
        raise Failure(416, "no_such_range", f"the file has {size} bytes", headers={"content-range": f"bytes */{size}"})
    return start, end


class _FileAnswer(StreamingResponse):
    """Bytes of an open file, which is closed also where the client has gone before the first of them."""

    def __init__(self, descriptor: int, start: int, end: int, status: int, headers: dict[str, str], kind: str):
        super().__init__(_pieces(descriptor, start, end), status, headers, kind)
        self._descriptor = descriptor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            os.close(self._descriptor)


async def _pieces(descriptor: int, start: int, end: int) -> AsyncIterator[bytes]:
    while start < end:
        piece = await anyio.to_thread.run_sync(os.pread, descriptor, min(_PIECE, end - start), start)
        if not piece:  # it was cut short meanwhile; the client sees that bytes are missing
            return
        start += len(piece)
        yield piece
