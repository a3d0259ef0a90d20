"""What is asked without sending a file: models, search, similar songs, neighbours, songs and their audio."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response

from orpheus.tasks.service import answers, failures
from orpheus.tasks.service.answers import ErrorAnswer
from orpheus.tasks.service.ranges import file_response
from orpheus.tasks.service.served import Parts, gone_or_done
from orpheus.tasks.service.served_index import ServedIndex

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
SongNumber = Annotated[int, Query(description="of a song of the index", ge=0, le=2**53)]
K = Annotated[int, Query(description="length of the list", ge=1, le=200)]
Text = Annotated[str, Query(max_length=500)]


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


@router.get("/{name}/search", summary="Songs for tags and words")
async def search(
    request: Request,
    one: Index,
    q: Annotated[str, Query(description='tags or words; -word is not wanted, "a phrase"', max_length=500)] = "",
    k: K = 20,
) -> answers.Hits:
    return await within(request, one.hits(lambda found: found.search(q, k)))


@router.get("/{name}/similar", summary="Songs like a song of the index")
async def similar(request: Request, one: Index, song: SongNumber, k: K = 20) -> answers.Hits:
    return await within(request, one.similar(song, k))


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
    return await within(request, one.words(prefix, k))


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
