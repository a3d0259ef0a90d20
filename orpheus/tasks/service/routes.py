"""What is asked without sending a file: models, search, similar songs, neighbours, songs and their audio."""

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import Field
from starlette.responses import Response

from orpheus.tasks.search.filters import Filters
from orpheus.tasks.service import answers, failures
from orpheus.tasks.service.answers import ErrorAnswer
from orpheus.tasks.service.ranges import file_response
from orpheus.tasks.service.served import Parts, gone_or_done
from orpheus.tasks.service.served_index import Question, ServedIndex

_REASONS = {
    400: "what is asked cannot be answered",
    401: "the token is missing",
    403: "asked by another site's page, or under another name",
    404: "no such run, index, song or page",
    405: "no such method",
    422: "a parameter is missing or out of range",
    429: "too much is under way; the header Retry-After says when to ask again",
    503: "too many connections",
    504: "it took too long",
}
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": reason} for status, reason in _REASONS.items()
}

router = APIRouter(prefix="/api", tags=["music"])

Name = Annotated[str, Path(description="of a run or an index, as /api/models lists them", max_length=255)]
Number = Annotated[int, Path(description="of a song of the index", ge=0, le=2**53)]
SongNumber = Annotated[int, Field(ge=0, le=2**53)]
K = Annotated[int, Query(description="length of the list", ge=1, le=200)]
Text = Annotated[str, Field(max_length=500)]
Listener = Annotated[str | None, Query(description="id of a listener", max_length=500)]
History = Annotated[list[Text], Query(description="ids of songs that somebody heard", max_length=500)]
Diversity = Annotated[float, Query(description="0 for the nearest songs, up to 1 for songs that differ", ge=0, le=1)]
Weight = Annotated[float | None, Query(description="of this part; 1 if not given", gt=0, le=1e6)]


def served(request: Request, name: Name) -> Any:
    """The run or index of a request's path."""
    found = request.app.state.served.get(name)
    if found is None:
        raise failures.missing(f"nothing called {name!r} is served; /api/models lists what is")
    return found


def index(one: Annotated[Any, Depends(served)]) -> ServedIndex:
    """The same, where it must be an index."""
    if not isinstance(one, ServedIndex):
        raise failures.unsupported(f"{one.name} is a run, and has no songs; serve an index")
    return one


def parts_of(request: Request) -> Parts:
    """What all that is served shares."""
    return request.app.state.parts


Served = Annotated[Any, Depends(served)]
Index = Annotated[ServedIndex, Depends(index)]


async def within(request: Request, work: Any) -> Any:
    """What `work` returns, while the client waits for it and its time is not up."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return await gone_or_done(gone, work, parts_of(request).settings.request_seconds)


@router.get("/models", summary="What is served")
async def models(request: Request) -> list[answers.Model]:
    async def all_of_them() -> list[answers.Model]:
        return [await one.about() for one in request.app.state.served.values()]

    return await within(request, all_of_them())


def filters(
    tag: Annotated[
        list[Text], Query(description="that a song must have; given several times, each", max_length=50)
    ] = [],  # noqa: B006
    without: Annotated[list[Text], Query(description="tags that it must not have", max_length=50)] = [],  # noqa: B006
    artists_once: Annotated[bool, Query(description="the nearest song of each artist only")] = False,
    include_heard: Annotated[bool, Query(description="what the listener or the history has heard, too")] = False,
) -> Filters:
    """What limits a list."""
    return Filters(tags=tag, without=without, artists_once=artists_once, include_heard=include_heard)


def weights(
    weight_words: Weight = None,
    weight_listener: Weight = None,
    weight_history: Weight = None,
    weight_like: Weight = None,
) -> dict[str, float]:
    """How much the parts of a search count."""
    given = {"words": weight_words, "listener": weight_listener, "history": weight_history, "like": weight_like}
    return {name: weight for name, weight in given.items() if weight is not None}


Limits = Annotated[Filters, Depends(filters)]


@router.get("/{name}/search", summary="Songs for words, a listener, a history and songs, or a mixture of them")
async def search(
    request: Request,
    one: Index,
    limits: Limits,
    weighted: Annotated[dict[str, float], Depends(weights)],
    q: Annotated[str, Query(description='tags or words; -word is not wanted, "a phrase"', max_length=500)] = "",
    listener: Listener = None,
    history: History = [],  # noqa: B006
    like: Annotated[list[SongNumber], Query(description="numbers of songs", max_length=100)] = [],  # noqa: B006
    diversity: Diversity = 0.0,
    k: K = 20,
) -> answers.Hits:
    question = Question(
        text=q,
        listener=listener,
        history=tuple(history),
        like=tuple(like),
        weights=weighted,
        filters=limits,
        diversity=diversity,
        k=k,
    )
    return await within(request, one.search(question))


@router.get("/{name}/recommend", summary="Songs for a listener, or for somebody who heard some songs")
async def recommend(
    request: Request,
    one: Index,
    limits: Limits,
    listener: Listener = None,
    history: History = [],  # noqa: B006
    diversity: Diversity = 0.0,
    k: K = 20,
) -> answers.Hits:
    if listener is None and not history:
        raise failures.Failure(422, "invalid", "listener, history: give one of them")
    question = Question(listener=listener, history=tuple(history), weights={}, filters=limits, diversity=diversity, k=k)
    return await within(request, one.search(question))


@router.get("/{name}/similar", summary="Songs like a song of the index")
async def similar(
    request: Request,
    one: Index,
    limits: Limits,
    song: Annotated[SongNumber, Query(description="of a song of the index")],
    diversity: Diversity = 0.0,
    k: K = 20,
) -> answers.Hits:
    return await within(request, one.similar(song, k, filters=limits, diversity=diversity))


@router.get("/{name}/path", summary="Songs on the way from one to another")
async def way(
    request: Request,
    one: Index,
    start: Annotated[SongNumber, Query(description="of the first song")],
    end: Annotated[SongNumber, Query(description="of the last song")],
    steps: Annotated[int, Query(description="songs between them", ge=1, le=50)] = 8,
) -> answers.Hits:
    return await within(request, one.way(start, end, steps))


@router.get("/{name}/neighbours", summary="Tags near a tag")
async def neighbours(
    request: Request,
    one: Served,
    tag: Annotated[str, Query(description="any tag", min_length=1, max_length=200)],
    k: K = 20,
) -> answers.Neighbours:
    return answers.Neighbours(tags=answers.tag_list(await within(request, one.neighbours(tag, k))))


@router.get("/{name}/words", summary="Tags that begin so")
async def words(request: Request, one: Index, prefix: Text = "", k: K = 20) -> answers.Words:
    return answers.Words(words=[answers.text(word) for word in await within(request, one.words(prefix, k))])


@router.get("/{name}/listeners", summary="Listeners whose ids begin so")
async def listeners(request: Request, one: Index, prefix: Text = "", k: K = 20) -> answers.Listeners:
    found = await within(request, one.listeners(prefix, k))
    return answers.Listeners(listeners=[answers.text(listener) for listener in found])


@router.get(
    "/{name}/map",
    summary="Places of all songs in the plane",
    description="Little endian: uint32 n, then n uint32 numbers of songs, then n pairs of float32 x, y from −1 to 1.",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}, "description": "numbers and places"}},
)
async def map_of_songs(request: Request, one: Index) -> Response:
    found = await within(request, one.map())
    parts = (np.array([len(found.numbers)], "<u4"), found.numbers.astype("<u4"), found.points.astype("<f4"))
    return Response(b"".join(part.tobytes() for part in parts), media_type="application/octet-stream")


@router.get("/{name}/map/labels", summary="Names of regions of the map, those of most songs first")
async def labels(request: Request, one: Index) -> answers.Labels:
    found = await within(request, one.map())
    return answers.Labels(labels=[answers.Label(x=x, y=y, text=answers.text(tag)) for x, y, tag in found.labels])


@router.post(
    "/{name}/playlist",
    summary="Songs by number as a playlist of their files",
    response_class=Response,
    responses={200: {"content": {"audio/mpegurl": {"schema": {"type": "string"}}}, "description": "M3U8"}},
)
async def playlist(request: Request, one: Index, songs: answers.Numbers) -> Response:
    content = await within(request, one.playlist(songs.numbers))
    headers = {"content-disposition": 'attachment; filename="orpheus.m3u8"'}
    return Response(content.encode("utf-8", "surrogateescape"), media_type="audio/mpegurl", headers=headers)


@router.get("/{name}/songs/{number}", summary="A song")
async def song(request: Request, one: Index, number: Number) -> answers.Hit:
    return await within(request, one.song(number))


_AUDIO: dict[int | str, dict[str, Any]] = {
    200: {"content": {"audio/*": {}}, "description": "the file"},
    206: {"content": {"audio/*": {}}, "description": "a range of it"},
    304: {"description": "as it was"},
    416: {"model": ErrorAnswer, "description": "nothing of the file is in the range"},
}


@router.head("/{name}/songs/{number}/audio", include_in_schema=False)
@router.get(
    "/{name}/songs/{number}/audio",
    summary="The audio of a song, by ranges of bytes",
    response_class=Response,
    responses=_AUDIO,
)
async def audio(request: Request, one: Index, number: Number) -> Response:
    path = await within(request, one.path(number))
    return await file_response(path, request)


def hears(one: Served) -> Any:
    """What hears recordings for a run or an index."""
    if one.hears is None or "upload" not in one.hears.can:
        raise failures.unsupported(f"{one.name} cannot hear audio: its run is not there, or takes none")
    return one.hears


Hears = Annotated[Any, Depends(hears)]
