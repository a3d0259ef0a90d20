"""What is served: taggers, retrieval and joint runs, and indexes, each with the threads that its parts belong to."""

import asyncio
import contextlib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from orpheus.errors import ConfigError, DataError
from orpheus.runs import finding
from orpheus.runs.folder import Run
from orpheus.tasks.search import making
from orpheus.tasks.search.near import highest, nearest_tags, neighbours
from orpheus.tasks.search.song_index import STORE
from orpheus.tasks.search.store import is_store
from orpheus.tasks.service import answers, failures
from orpheus.tasks.service.answers import TAGS
from orpheus.tasks.service.decoding import Decoder
from orpheus.tasks.service.metrics import Metrics
from orpheus.tasks.service.queue import ModelThread
from orpheus.tasks.service.settings import Settings

if TYPE_CHECKING:
    from orpheus.tasks.search.tagger_space import TaggerSpace
    from orpheus.tasks.tagging.tagger import Tagger

_MOST_WINDOWS = 20_000  # of a recording


class Parts:
    """What all that is served shares: settings, metrics, the thread of models and the processes that decode."""

    def __init__(self, settings: Settings, folder: Path):
        self.settings, self.folder = settings, folder
        self.metrics = Metrics()
        self.models = ModelThread(self.metrics, limit=settings.uploads, batch_size=settings.batch_size)
        self.admitted = 0  # requests that decode audio now
        self._decoder: Decoder | None = None  # its processes start with the event loop

    def start(self) -> None:
        """Start the processes that decode, in the event loop that they belong to."""
        self._decoder = Decoder(self.settings, self.metrics)

    @property
    def decoder(self) -> Decoder:
        """The processes that decode."""
        assert self._decoder is not None, "start has not been called"
        return self._decoder

    def close(self) -> None:
        """End threads and processes, remove files."""
        self.models.close()
        if self._decoder is not None:
            self._decoder.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Hears(Protocol):
    """A run that says something of a recording."""

    @property
    def can(self) -> tuple[str, ...]:
        """What can be asked of it."""

    @property
    def task(self) -> str:
        """Of the run."""

    @property
    def training_tags(self) -> Sequence[str]:
        """Tags of the run."""

    async def tags(
        self, source: Path, folder: Path, *, k: int, timeline: bool, hop_seconds: float | None
    ) -> answers.Tags:
        """Tags of an audio file; what is made of it on the way lies in `folder`."""

    async def features(self, source: Path, folder: Path, layer: str | None) -> answers.Features:
        """What a layer says of an audio file."""

    async def embed(self, source: Path, folder: Path) -> tuple[np.ndarray, float]:
        """The vector of an audio file, and its seconds."""

    async def neighbours(self, tag: str, k: int) -> list[tuple[str, float]]:
        """Tags near a tag."""


class TaggerRun:
    """A tagger's run.

    Args:
        tagger: Loaded.
        parts: Shared ones.
        space: The same tagger as a space of songs, where an index needs it.
    """

    task = "tagging"

    def __init__(self, tagger: "Tagger", parts: Parts, space: "TaggerSpace | None" = None):
        self._tagger, self._parts, self._space = tagger, parts, space
        self.training_tags = tagger.classes
        self.can: tuple[str, ...] = ("tags", "timeline", "features", "upload")
        # The first pass makes the graph: nobody is to wait for it.
        tagger.forward()(np.zeros((1, *tagger.model.input_shape[1:]), tagger.spec.dtype))

    async def tags(
        self, source: Path, folder: Path, *, k: int, timeline: bool, hop_seconds: float | None
    ) -> answers.Tags:
        starts, scores, seconds = await self._scored(source, folder, "", hop_seconds)
        mean = scores.mean(axis=0)
        order = np.argsort(-mean, kind="stable")
        names = self._tagger.classes
        found = answers.tag_list((names[column], mean[column]) for column in order[:k])
        if not timeline:
            return answers.Tags(seconds=seconds, tags=found, timeline=None)
        shown = order[: min(k, TAGS)]
        spec, window = self._tagger.spec, self._tagger.window_seconds
        over_time = answers.Timeline(
            hop_seconds=spec.seconds(spec.frames(hop_seconds or window)),
            window_seconds=spec.seconds(spec.frames(window)),
            times=[round(start, 6) for start in starts],
            tags=[answers.text(names[column]) for column in shown],
            scores=np.round(scores[:, shown].astype(np.float64), 7).tolist(),
        )
        return answers.Tags(seconds=seconds, tags=found, timeline=over_time)

    async def features(self, source: Path, folder: Path, layer: str | None) -> answers.Features:
        found = self._tagger.layer(layer)
        if len(found.output.shape) != 2:
            raise failures.Failure(422, "not_a_vector", f"layer {found.name} gives no vector; leave layer out")
        _, outputs, _ = await self._scored(source, folder, found.name, None)
        return answers.Features(layer=found.name, values=outputs.mean(axis=0).tolist())

    async def embed(self, source: Path, folder: Path) -> tuple[np.ndarray, float]:
        assert self._space is not None
        return await _embedded(self._space, self._tagger.spec.sample_rate, self._parts, source, folder)

    async def neighbours(self, tag: str, k: int) -> list[tuple[str, float]]:
        raise failures.unsupported("a tagger knows no neighbours of tags; ask a retrieval run or an index")

    async def _scored(
        self, source: Path, folder: Path, layer: str, hop_seconds: float | None
    ) -> tuple[list[float], np.ndarray, float]:
        """(seconds at which each window begins, (windows, …) outputs, seconds of the recording)."""
        tagger, parts = self._tagger, self._parts
        frames, seconds = await parts.decoder.stored(source, tagger.spec, folder)
        if seconds / (hop_seconds or tagger.window_seconds) > _MOST_WINDOWS:
            raise failures.Failure(
                422, "too_many_windows", f"hop={hop_seconds}: gives more than {_MOST_WINDOWS} windows"
            )
        starts: list[float] = []

        def windows():
            for start, window in tagger.cut([frames], hop_seconds):
                starts.append(start)
                yield window

        outputs = await parts.models.windows(tagger.forward(layer), windows())
        return starts, outputs, seconds


class SpaceRun:
    """A run of retrieval, or a joint one.

    Args:
        space: Its `orpheus.tasks.retrieval.retriever.Retriever`, or what has the same methods.
        task: Its name.
        parts: Shared ones.
    """

    def __init__(self, space: Any, task: str, parts: Parts):
        self._space, self.task, self._parts = space, task, parts
        self.training_tags = space.training_tags
        # Of audio and factors together, sound alone is not enough; a joint run takes whichever of its inputs is there.
        alone = space.input_type in ("spec", "joint") and space.spec is not None
        hears = ("tags", "features", "upload") if alone else ()
        self.can: tuple[str, ...] = (*hears, "neighbours")
        self._rows: np.ndarray | None = None
        self._probable = making.gives_probabilities(space)

    async def tags(
        self, source: Path, folder: Path, *, k: int, timeline: bool, hop_seconds: float | None
    ) -> answers.Tags:
        vector, seconds = await self.embed(source, folder)
        near = await self._parts.models.call(self._nearest, vector, k)
        return answers.Tags(seconds=seconds, tags=answers.tag_list(near), timeline=None)

    async def features(self, source: Path, folder: Path, layer: str | None) -> answers.Features:
        if layer not in (None, "embedding"):
            raise failures.missing(f"layer={layer}: of a retrieval run there is the layer embedding only")
        vector, _ = await self.embed(source, folder)
        return answers.Features(layer="embedding", values=vector.tolist())

    async def embed(self, source: Path, folder: Path) -> tuple[np.ndarray, float]:
        if "upload" not in self.can:
            raise failures.unsupported(f"this run takes {self._space.input_type} and cannot hear audio")
        return await _embedded(self._space, self._space.spec.sample_rate, self._parts, source, folder)

    async def neighbours(self, tag: str, k: int) -> list[tuple[str, float]]:
        return await self._parts.models.call(neighbours, self._space, tag, k)

    def _nearest(self, vector: np.ndarray, k: int) -> list[tuple[str, float]]:
        """Tags by their probability where the run gives one, else by their cosine."""
        if self._probable:
            found = highest(self.training_tags, self._space.probabilities(vector[None])[0], k)
            return [(near.tag, near.score) for near in found]
        if self._rows is None:
            self._rows = self._space.tags(self.training_tags)
        return [(near.tag, near.score) for near in nearest_tags(vector, self.training_tags, self._rows, k)]


async def _embedded(space: Any, sample_rate: int, parts: Parts, source: Path, folder: Path) -> tuple[np.ndarray, float]:
    """The vector of a file and its seconds: decoded in a process, embedded in the thread of models."""
    wav, seconds = await parts.decoder.wav(source, sample_rate, folder)

    def embed() -> np.ndarray:
        ((_, result),) = space.files([wav])
        return result

    vector = await parts.models.call(embed)
    if isinstance(vector, DataError):
        raise failures.unusable(str(vector).removeprefix(f"{wav}: "))
    return vector, seconds


def hears(space: Any, task: str, parts: Parts) -> "TaggerRun | SpaceRun":
    """What says something of recordings, by a space as `tagger_space.load` gives it."""
    if task == "tagging":
        return TaggerRun(space.tagger, parts, space)
    return SpaceRun(space, task, parts)


class ServedRun:
    """A run under its name."""

    kind = "run"

    def __init__(self, name: str, run: Run, parts: Parts):
        from orpheus.tasks.search import tagger_space
        from orpheus.tasks.tagging.tagger import Tagger

        task = str(run.read("run").get("task"))
        if task not in ("tagging", "retrieval", "joint"):
            raise ConfigError(
                f"{run.folder}: a run of task {task}; serve takes tagging, retrieval and joint runs, and indexes"
            )
        self.name, self._folder = name, run.folder
        self.hears = (
            TaggerRun(Tagger(run), parts) if task == "tagging" else hears(tagger_space.load(run.folder), task, parts)
        )

    async def about(self) -> answers.Model:
        """What it is."""
        names = [answers.text(name) for name in self.hears.training_tags[:TAGS]]
        return answers.Model(
            name=self.name,
            kind=self.kind,
            task=self.hears.task,
            songs=0,
            tags=names,
            listeners=0,
            can=list(self.hears.can),
        )

    async def tags(
        self, source: Path, folder: Path, *, k: int, timeline: bool, hop_seconds: float | None
    ) -> answers.Tags:
        """Tags of an audio file."""
        return await self.hears.tags(source, folder, k=k, timeline=timeline, hop_seconds=hop_seconds)

    async def neighbours(self, tag: str, k: int) -> list[tuple[str, float]]:
        """Tags near a tag."""
        return await self.hears.neighbours(tag, k)

    def paths(self) -> list[str]:
        """What its errors may name."""
        return paths_of_run(self._folder)

    def close(self) -> None:
        """Nothing."""


def paths_of_run(folder: Path) -> list[str]:
    """A run's folder and its word vectors, which errors may name."""
    found = [str(folder)]
    with contextlib.suppress(DataError):  # it may be gone, where an index of it is served
        vectors = Run.open(folder).read("run").get("vectors")
        found += [str(vectors["path"])] if isinstance(vectors, dict) and vectors.get("path") else []
    return [path for path in found if os.sep in path]


def open_all(given: Sequence[str], parts: Parts) -> "dict[str, Any]":
    """Runs and indexes by name, loaded.

    Raises:
        ConfigError: two of one name, a run of a task that is not served.
        DataError: neither a run nor an index.
    """
    from orpheus.tasks.service.served_index import ServedIndex

    found: dict[str, Any] = {}
    for path in given:
        folder = Path(os.path.abspath(Path(path).expanduser()))
        is_index = is_store(folder / STORE)
        run = None if is_index else finding.find_run(path)
        name = answers.text((folder if is_index else Path(run.folder)).resolve().name)  # type: ignore[union-attr]
        if name in found:
            raise ConfigError(f"{path}: another one called {name} is served already; rename one of the folders")
        found[name] = ServedIndex(name, folder, parts) if is_index else ServedRun(name, run, parts)  # type: ignore[arg-type]
    return found


async def gone_or_done(wait: Callable, work: Any, seconds: float) -> Any:
    """What `work` returns, unless the client has gone (`wait` returns) or its time is up: then it is cancelled.

    Raises:
        Failure: its time is up.
        Gone: the client has gone.
    """
    working, waiting = asyncio.ensure_future(work), asyncio.ensure_future(wait())
    try:
        await asyncio.wait({working, waiting}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        if waiting.done():
            raise failures.Gone
        raise failures.Failure(504, "timeout", f"took longer than {seconds:g} s")
    finally:
        for task in (working, waiting):
            task.cancel()
        await asyncio.gather(working, waiting, return_exceptions=True)
