"""What is asked of audio: tags, features and similar songs of a file that is sent, or of one of the index."""

import contextlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from orpheus.tasks.service import answers, failures, uploads
from orpheus.tasks.service.answers import ErrorAnswer
from orpheus.tasks.service.routes import Hears, Index, K, Number, Served, parts_of, within
from orpheus.tasks.service.served import Parts

router = APIRouter(prefix="/api", tags=["audio"])

_SENT: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary", "description": "an audio file"}},
                }
            }
        },
    }
}
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": reason}
    for status, reason in {
        408: "the file came too slowly",
        413: "the file is too large, or too long",
        415: "not multipart/form-data",
        422: "a parameter is wrong, or the file cannot be used",
    }.items()
}

Hop = Annotated[float | None, Query(description="seconds from window to window; a window if not given", gt=0, le=3600)]
Over = Annotated[bool, Query(description="scores over time too, of taggers")]


@contextlib.asynccontextmanager
async def admitted(parts: Parts) -> AsyncIterator[Path]:
    """A folder for the files of a request that decodes audio; refused while there are enough of them.

    Raises:
        Failure: 429.
    """
    if parts.admitted >= parts.settings.uploads:
        raise failures.busy(f"{parts.admitted} recordings are being heard")
    parts.admitted += 1
    try:
        with tempfile.TemporaryDirectory(dir=parts.folder, ignore_cleanup_errors=True) as folder:
            yield Path(folder)
    finally:
        parts.admitted -= 1


async def _heard(request: Request, ask: Callable[[Path, Path], Awaitable[Any]]) -> Any:
    """An answer about the file that a request sends."""
    parts = parts_of(request)
    async with admitted(parts) as folder, uploads.received(request, folder, parts.settings) as source:
        return await within(request, ask(source, folder))


@router.post("/{name}/tags", summary="Tags of a file", openapi_extra=_SENT, responses=_ERRORS)
async def tags(
    request: Request, hears: Hears, one: Served, timeline: Over = False, hop: Hop = None, k: K = 50
) -> answers.Tags:
    return await _heard(
        request,
        lambda source, folder: one.tags(source, folder, k=k, timeline=timeline, hop_seconds=hop),
    )


@router.post("/{name}/features", summary="What a layer says of a file", openapi_extra=_SENT, responses=_ERRORS)
async def features(
    request: Request,
    hears: Hears,
    layer: Annotated[
        str | None, Query(description="by name; the layer of a song's vector if not given", max_length=200)
    ] = None,
) -> answers.Features:
    return await _heard(request, lambda source, folder: hears.features(source, folder, layer))


@router.post("/{name}/similar", summary="Songs like a file", openapi_extra=_SENT, responses=_ERRORS)
async def similar(request: Request, one: Index, hears: Hears, k: K = 20) -> answers.Hits:
    async def ask(source: Path, folder: Path) -> answers.Hits:
        vector, _ = await hears.embed(source, folder)
        return await one.similar(vector, k)

    return await _heard(request, ask)


@router.get("/{name}/songs/{number}/tags", summary="Tags of a song of the index", responses=_ERRORS)
async def song_tags(
    request: Request, one: Index, number: Number, timeline: Over = False, hop: Hop = None, k: K = 50
) -> answers.Tags:
    if one.hears is None or one.hears.task != "tagging":
        return await within(request, one.tags_of(number, k))
    hears, parts = one.hears, parts_of(request)
    path = await within(request, one.path(number))
    async with admitted(parts) as folder:
        return await within(request, hears.tags(path, folder, k=k, timeline=timeline, hop_seconds=hop))
