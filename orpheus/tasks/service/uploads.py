"""Uploaded files: from the connection to the disk, never whole in memory, and gone when the request ends."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO

import anyio
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from orpheus.data.audio import reading
from orpheus.tasks.service.failures import Failure, Gone
from orpheus.tasks.service.settings import Settings

_OVERHEAD = 64 << 10  # bytes of a request around the file
_FIELD = "file"


@contextlib.asynccontextmanager
async def received(request: Request, folder: Path, settings: Settings) -> AsyncIterator[Path]:
    """The file that a request sends in the field "file" of a multipart form, for as long as the block lasts.

    Raises:
        Failure: no such form (415) or field (422), too large (413), too slow (408), or broken (400).
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise Failure(415, "not_a_form", f"send the audio as the field {_FIELD!r} of multipart/form-data")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:18]) > settings.upload_bytes + _OVERHEAD:
        raise await _too_large(request, settings)
    with tempfile.TemporaryDirectory(dir=folder) as own:
        form = None
        try:
            form = _Form(boundary, Path(own), settings.upload_bytes)
            await _read(request, form, settings)
        except FormParserError as error:
            raise Failure(400, "broken_form", f"the form cannot be read: {error}") from None
        finally:
            if form is not None:
                form.close()
        if form.path is None:
            raise Failure(422, "no_file", f"the form has no file in its field {_FIELD!r}")
        yield form.path


async def _read(request: Request, form: "_Form", settings: Settings) -> None:
    """The body, piece by piece, into the form."""
    stream, total, began = request.stream(), 0, time.monotonic()
    while True:
        try:
            piece = await asyncio.wait_for(anext(stream), settings.receive_seconds)
        except StopAsyncIteration:
            break
        except asyncio.TimeoutError:
            raise Failure(408, "too_slow", f"nothing came for {settings.receive_seconds:g} s") from None
        except ClientDisconnect:
            raise Gone from None
        total += len(piece)
        if total > settings.upload_bytes + _OVERHEAD:
            raise await _too_large(request, settings)
        seconds = time.monotonic() - began
        if seconds > settings.receive_seconds and total < settings.slowest_upload * seconds:
            raise Failure(408, "too_slow", f"fewer than {settings.slowest_upload} bytes a second came")
        form.feed(piece)
        if form.pending:
            await anyio.to_thread.run_sync(form.write)
    form.end()
    await anyio.to_thread.run_sync(form.write)


async def _too_large(request: Request, settings: Settings) -> Failure:
    """The failure; what is on its way is taken first, for a while, since otherwise many clients see no answer."""

    async def take() -> None:
        taken = 0
        async for piece in request.stream():
            taken += len(piece)
            if taken > settings.upload_bytes:
                return

    with contextlib.suppress(asyncio.TimeoutError, ClientDisconnect, RuntimeError):
        await asyncio.wait_for(take(), 2.0)
    return Failure(413, "too_large", f"larger than {settings.upload_bytes >> 20} MiB, the most that is taken")


class _Form:
    """A multipart form as it comes in: the content of the one field goes to a file, anything else to nowhere."""

    def __init__(self, boundary: bytes, folder: Path, longest: int):
        self._folder, self._longest = folder, longest
        self._header, self._value = b"", b""
        self._disposition, self._ended = b"", False
        self._file: IO[bytes] | None = None
        self._taking = False
        self._pieces: list[bytes] = []
        self.path: Path | None = None
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._on_header,
                "on_header_value": self._on_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_part_data": self._on_data,
                "on_part_end": self._part_end,
                "on_end": self._end,
            },
        )

    @property
    def pending(self) -> bool:
        """Whether there is something to write."""
        return bool(self._pieces)

    def feed(self, piece: bytes) -> None:
        """Take a piece of the body."""
        self._parser.write(piece)

    def end(self) -> None:
        """The body has ended.

        Raises:
            Failure: the form has not.
        """
        self._parser.finalize()
        if not self._ended:
            raise Failure(400, "broken_form", "the form ends before its last boundary")

    def write(self) -> None:
        """Put what has come onto the disk."""
        if self.path is not None:
            if self._file is None:
                self._file = open(self.path, "wb")  # noqa: SIM115  (closed by `close`)
            self._file.writelines(self._pieces)
        self._pieces.clear()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _begin(self) -> None:
        self._header = self._value = self._disposition = b""

    def _on_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._taking = options.get(b"name") == _FIELD.encode() and self.path is None
        if self._taking:
            # Of the name that the client gives only a known suffix is used.
            suffix = Path(options.get(b"filename", b"").decode("utf-8", "replace")).suffix.lower()
            self.path = self._folder / f"upload{suffix if suffix in reading.AUDIO_SUFFIXES else ''}"

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._taking:
            self._pieces.append(data[start:end])

    def _part_end(self) -> None:
        self._taking = False

    def _end(self) -> None:
        self._ended = True
