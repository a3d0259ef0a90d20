"""What the service answers: the models that its OpenAPI description is made of."""

from collections.abc import Iterable
from typing import Annotated

from pydantic import BaseModel, Field

from orpheus.data.audio.finding import printable

TAGS = 50  # of a timeline, and of what is said of a run


def text(value: str) -> str:
    """A name as JSON can hold it: bytes of file names that are no UTF-8 become escapes."""
    return printable(value)


class Error(BaseModel):
    """Why there is no answer."""

    code: str = Field(description="a short name of the reason")
    message: str = Field(description="one line for people")


class ErrorAnswer(BaseModel):
    """An error."""

    error: Error


class Health(BaseModel):
    """That the service is alive."""

    status: str
    models: int
    uptime_seconds: float


class Model(BaseModel):
    """One run or index."""

    name: str
    kind: str = Field(description="index or run")
    task: str = Field(description="tagging, retrieval or joint")
    songs: int
    tags: list[str] = Field(description="the first 50 tags")
    listeners: int
    can: list[str] = Field(description="what can be asked of it")


class Hit(BaseModel):
    """One song of a list."""

    number: int
    id: str
    title: str
    artist: str
    score: float
    tags: list[str]
    because: list[str] = Field(description="tags that explain why it is here")
    audio: str | None = Field(description="where its audio is; null where there is none")


class Hits(BaseModel):
    """Songs, the best first."""

    hits: list[Hit]


class Tag(BaseModel):
    """A tag and its score."""

    tag: str
    score: float


class Timeline(BaseModel):
    """Scores over time."""

    hop_seconds: float = Field(description="from window to window")
    window_seconds: float = Field(description="length of a window")
    times: list[float] = Field(description="seconds at which each window begins")
    tags: list[str]
    scores: list[list[float]] = Field(description="a list for each time, with a score for each tag")


class Tags(BaseModel):
    """Tags of a recording, the highest score first."""

    seconds: float | None = Field(description="its length; null where it was not decoded")
    tags: list[Tag]
    timeline: Timeline | None


class Neighbours(BaseModel):
    """Tags near a tag, the nearest first."""

    tags: list[Tag]


class Features(BaseModel):
    """What a layer says of a recording, the mean over its windows."""

    layer: str
    values: list[float]


class Words(BaseModel):
    """Tags that begin alike."""

    words: list[str]


class Listeners(BaseModel):
    """Ids of listeners that begin alike."""

    listeners: list[str]


class Label(BaseModel):
    """A word on the map."""

    x: float
    y: float
    text: str


class Labels(BaseModel):
    """Words on the map."""

    labels: list[Label]


class Numbers(BaseModel):
    """Songs by number."""

    numbers: list[Annotated[int, Field(ge=0, le=2**53)]] = Field(min_length=1, max_length=1000)


def tag_list(pairs: Iterable[tuple[str, float]]) -> list[Tag]:
    """Tags with their scores."""
    return [Tag(tag=text(name), score=round(float(score), 7)) for name, score in pairs]
