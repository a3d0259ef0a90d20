"""Recommendations from a trained run: to a user, to who likes certain items, and listeners of new items."""

import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from orpheus.config.experiment import TextInput
from orpheus.data.audio import reading
from orpheus.data.audio.spec import WAVEFORM, AudioSpec
from orpheus.data.items import layout, patches, tables, texts
from orpheus.errors import ConfigError, DataError
from orpheus.learning.evaluation import lists
from orpheus.runs import finding
from orpheus.runs.folder import Run
from orpheus.runs.models import load_model
from orpheus.tasks.recommendation import data as recommendation_data
from orpheus.tasks.recommendation import job, metrics, registry, run_table
from orpheus.tasks.recommendation.data import RecommendationData

RIVALS = ("popularity", "nearest neighbours")
TEXT_SUFFIXES, FEATURE_SUFFIXES = (".txt", ".text", ".md"), (".npy",)
_LAYER = re.compile(r"(.+)-pred_(.+)")  # a setting that is a hidden layer of a run


class Recommendation(NamedTuple):
    """One place of a list: an item, or a user for whom a new item is."""

    id: str
    name: str
    score: float


class MusicRecommender:
    """Recommends items that nobody has heard yet, by what a run has learned of their features.

    Args:
        run: A recommendation run of `orpheus.experiment`, or a data folder, whose newest one is taken. None: the demo,
            made-up data that `recommend()` trains on first.
        data_dir: Where the run's data folder is now; where it was if None.
        among: The set whose items are recommended.

    Raises:
        DataError: no such run; or it is not of recommendation.

    Example:
        >>> from orpheus import MusicRecommender  # doctest: +SKIP
        >>> MusicRecommender("data/models/model_1").recommend(user="2", k=3)  # doctest: +SKIP
    """

    def __init__(
        self, run: str | os.PathLike | None = None, *, data_dir: str | os.PathLike | None = None, among: str = "test"
    ):
        self.among = among
        self.run: Run | None = None
        if run is not None:
            self._load(_find(Path(run).expanduser(), data_dir), data_dir)

    def recommend(
        self, *, user: str | None = None, items: Sequence[str] = (), new: Sequence[str | os.PathLike] = (), k: int = 10
    ) -> list[Recommendation]:
        """The best `k`, best first, by one of three questions.

        Args:
            user: Which items for this user? Those already heard are left out.
            items: Which items for someone who likes these?
            new: Who would listen to these new items? Files of audio, text or features (.npy, one row), one for each
                input of the run; of n items n files of each kind, in the same order. With several items the score is
                their mean.
            k: Length of the list.

        Without any of them: train on the demo, show the steps, and recommend to its first user.

        Raises:
            ConfigError: more than one question, or files that do not fit the run's inputs.
            DataError: no such user or item (named), or a file that cannot be read.
        """
        questions = [bool(user), bool(items), bool(new)]
        if sum(questions) > 1 or k < 1:
            raise ConfigError(f"recommend: give one of user, items and new, and k={k} of at least 1")
        if self.run is None or not any(questions):
            if any(questions):
                raise ConfigError(
                    "recommend: there is no run yet; give one to MusicRecommender, or call recommend() first"
                )
            return self._demo(k)
        if new:
            vectors = _unit(_outputs(self.run, self.data, [Path(path) for path in new]))
            return self._best((metrics.user_factors(self.data) @ vectors.T).mean(axis=1), self._users, {}, k)
        if user:
            position = self._position(user)
            liked = metrics.user_factors(self.data)[position]
            row = metrics.counts(self.data, self.among)[position]
            heard = {self.candidates[column] for column in row.indices} if self.among != "test" else set()
        else:
            liked, heard = self._liking(items), set(items)
        values = self.vectors @ liked
        values[[number for number, item in enumerate(self.candidates) if item in heard]] = -np.inf
        return self._best(values, self.candidates, self.names, k)

    def _load(self, run: Run, data_dir: str | os.PathLike | None = None) -> None:
        self.data = recommendation_data.reopen_data(run, data_dir=data_dir)
        if self.data.config.evaluation != "recommendation":
            raise DataError(f"{run.folder}: evaluation={self.data.config.evaluation}, expected a recommendation run")
        model = load_model(run)
        self.candidates: tuple[str, ...] = getattr(self.data.splits, self.among)
        self.vectors = job.outputs(model, self.data.examples(self.among))
        names = self.data.folder.names()
        self.names = layout.read_pairs(names) if names.is_file() else {}
        path = self.data.folder.users_index()
        self._users = (
            layout.read_ids(path) if path.is_file() else tuple(map(str, range(len(metrics.user_factors(self.data)))))
        )
        self.run = run

    def _position(self, user: str) -> int:
        if user not in self._users:
            raise DataError(
                f"{self.data.folder.users_index()}: no user {user!r}; the first ones are {', '.join(self._users[:5])}"
            )
        return self._users.index(user)

    def _liking(self, items: Sequence[str]) -> np.ndarray:
        """The mean direction of items: factors of those that were factorised, predicted ones of the others."""
        config, folder = self.data.config.data, self.data.folder
        index = folder.factors_index(config.fact, self.data.dim)
        known = None
        if index.is_file():
            known = tables.load(folder.item_factors(config.fact, self.data.dim), layout.read_ids(index))
        found = []
        for item in items:
            if item in self.candidates:
                found.append(self.vectors[self.candidates.index(item)])
            elif known is not None and item in known:
                found.append(known.dense([item])[0])
            else:
                raise DataError(
                    f"{folder.root}: no item {item!r}, neither among the {self.among} items nor in {index.name}"
                )
        return _unit(np.stack(found)).mean(axis=0)

    @staticmethod
    def _best(values: np.ndarray, ids: Sequence[str], names: dict[str, str], k: int) -> list[Recommendation]:
        order = lists.top(np.asarray(values, np.float32)[None], k)[0]
        return [Recommendation(ids[n], names.get(ids[n], ids[n]), float(values[n])) for n in order if n >= 0]

    def _demo(self, k: int, say: Callable[[str], object] = print) -> list[Recommendation]:
        """The whole way on made-up data, each step shown."""
        if self.run is None:
            from orpheus.learning.engine import devices, fit
            from orpheus.tasks.recommendation import demo

            root, began = Path("demo") / "recommender", time.monotonic()
            say(f"Preprocessing: listeners, biographies and audio embeddings to {root}")
            folder = demo.write(root)
            config = registry.load(
                "music_recommender",
                ["bio", "audio-emb"],
                overrides=[f"data.dataset={demo.DATASET}", f"data.dim={demo.DIM}", "model-training.epochs=15"],
            )
            say("Loading data")
            data = recommendation_data.open_data(root, config)
            for subset, ids in data.splits._asdict().items():
                say(f"  {subset}: {len(ids)} artists")
            say("Building network")
            job.build(data).summary(print_fn=say)
            run = Run.create_numbered(folder.models, "model", command=["MusicRecommender().recommend()"])
            run.write("config", config.to_json())
            run.write("run", recommendation_data.describe(data, config, "music_recommender", seed=0, built_in=False))
            say("Training")
            fit.train(
                job.job(data, config, epochs=15), run, config.training, fit.Options(epochs=15), devices.strategy()
            )
            losses = [epoch["val_loss"] for epoch in run.history()]
            say(f"  {len(losses)} epochs, validation loss {losses[0]:.4f} to {min(losses):.4f}")
            say(f"Saving {run.folder} in {run_table.write_table(folder.models)}")
            self._load(run)
            say("Evaluating")
            result = metrics.evaluate(self.data, self.vectors, "test")
            run.write_metrics("test", result)
            run_table.write_table(folder.models)
            say(f"  R2 avg: {result['R2']:.4f}")
            say(f"  MAP@500: {result['mean']['MAP@500']:.5f}")
            others = {name: one["mean"]["MAP@500"] for name, one in metrics.compare(self.data).items()}
            for name, value in others.items():
                say(f"  {name}: {value:.5f}")
            say(f"  {_standing(result['mean']['MAP@500'], others)}")
            say(f"  {time.monotonic() - began:.0f} s in all")
        user = self._users[0]
        found = self.recommend(user=user, k=k)
        say(f"Artists that nobody has heard yet, for {user}:")
        for place, best in enumerate(found, 1):
            say(f"  {place:>2}  {best.score:.3f}  {best.name}")
        return found


def _standing(value: float, others: dict[str, float]) -> str:
    """Whether the model beats what needs no training; the oracle and the upper bound know the answer and do not count.

    >>> _standing(0.3, {"popularity": 0.2, "nearest neighbours": 0.4, "upper bound": 0.9})
    'the model loses to nearest neighbours (0.40000) and beats popularity: take the simpler one here'
    """
    ahead = [f"{name} ({one:.5f})" for name, one in others.items() if name in RIVALS and one >= value]
    behind = [name for name, one in others.items() if name in RIVALS and one < value]
    if not ahead:
        return f"the model beats {' and '.join(behind)}" if behind else ""
    beaten = f" and beats {' and '.join(behind)}" if behind else ""
    return f"the model loses to {' and '.join(ahead)}{beaten}: take the simpler one here"


def _find(path: Path, data_dir: str | os.PathLike | None) -> Run:
    """A run by its folder or name, or the newest recommendation run of a data folder."""
    if (path / "run.json").is_file() or not (path / "models").is_dir():
        return finding.find_run(str(path), None if data_dir is None else Path(data_dir))
    for row in reversed(run_table.trained(path / "models")):
        run = Run.open(path / "models" / row["id"])
        if run.task == "recommendation" and run.model_path.is_file():
            return run
    raise DataError(
        f"{path}: no trained recommendation run; make one with python -m orpheus.experiment rec_sparse SETTING --data-dir {path}"
    )


def _outputs(run: Run, data: RecommendationData, paths: list[Path], layer: str | None = None) -> np.ndarray:
    """What a run, or a layer of it, says of new items, from their files."""
    given: dict[str, list[Path]] = {"text": [], "features": [], "audio": []}
    for path in paths:
        if not path.is_file():
            raise DataError(f"{path}: no such file")
        suffix = path.suffix.lower()
        kind = "text" if suffix in TEXT_SUFFIXES else "features" if suffix in FEATURE_SUFFIXES else "audio"
        given[kind].append(path)
    inputs, parts, taken = {}, 1, 0
    plain = [name for name in data.config.inputs if _source(data, name) == "features"]
    for name in data.config.inputs:
        kind = _source(data, name)
        if kind == "run":
            inputs[name] = _of_other_run(data, data.setting(name), paths)
        elif kind == "features":
            inputs[name] = _feature_rows(given[kind][taken :: len(plain)], data, name)
            taken += 1
        elif not given[kind]:
            raise ConfigError(
                f"{run.folder}: its input {name} needs a file of {kind} for each item, and none was given"
            )
        elif kind == "text":
            inputs[name] = _text_rows(given[kind], data, name)
        else:
            inputs[name] = _patch_rows(given[kind], data, name)
            parts = len(inputs[name]) // len(given[kind])
    counts = {name: len(rows) // (parts if _source(data, name) == "audio" else 1) for name, rows in inputs.items()}
    if len(set(counts.values())) > 1:
        raise ConfigError(
            f"files of {', '.join(f'{n} items for {name}' for name, n in counts.items())}: the numbers must be the same"
        )
    model = load_model(run)
    model = job.hidden(model, layer) if layer is not None else model
    rows = {
        name: value if _source(data, name) == "audio" else np.repeat(value, parts, axis=0)
        for name, value in inputs.items()
    }
    values = np.asarray(model(rows, training=False), np.float32)
    return values.reshape(len(values) // parts, parts, -1).mean(axis=1)


def _source(data: RecommendationData, name: str) -> str:
    """What a new item's input is made from."""
    settings = data.config.inputs[name]
    if settings.kind == "patches":
        return "audio"
    if isinstance(settings, TextInput) or data.folder.text_model(data.setting(name)).is_file():
        return "text"
    match = _LAYER.fullmatch(data.setting(name))
    return "run" if match and (data.folder.models / match[1] / "model.keras").is_file() else "features"


def _of_other_run(data: RecommendationData, setting: str, paths: list[Path]) -> np.ndarray:
    """Features that are a hidden layer of another run."""
    name, layer = _LAYER.sub(r"\1", setting), _LAYER.sub(r"\2", setting)
    run = Run.open(data.folder.models / name)
    return _outputs(run, recommendation_data.reopen_data(run, data_dir=data.folder.root), paths, layer)


def _feature_rows(paths: list[Path], data: RecommendationData, name: str) -> np.ndarray:
    if not paths:
        raise ConfigError(
            f"inputs.{name}: needs a .npy of {data.shapes[name][0]} numbers for each item; none was given"
        )
    rows = []
    for path in paths:
        row = np.asarray(tables.load_matrix(path), np.float32).reshape(-1)
        if row.shape != data.shapes[name] or not np.isfinite(row).all():
            raise DataError(f"{path}: {row.shape[0]} numbers, expected {data.shapes[name][0]} finite ones for {name}")
        rows.append(row)
    return np.stack(rows)


def _text_rows(paths: list[Path], data: RecommendationData, name: str) -> np.ndarray:
    model = texts.load_model(data.folder.text_model(data.setting(name)))
    read = []
    for path in paths:
        try:
            read.append(path.read_text(encoding="utf-8-sig"))
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8 text ({error})") from None
    rows = model.transform(read)
    return np.asarray(rows, np.int32) if isinstance(model, texts.Sequences) else tables.densify(rows)


def _patch_rows(paths: list[Path], data: RecommendationData, name: str) -> np.ndarray:
    """Patches as tools.patches makes them, standardised as the training set was: (files × count, frames, bands)."""
    spec, mean, deviation = data.patches(name, "train").made_with()
    wanted = AudioSpec(WAVEFORM, sample_rate=spec.sample_rate, dtype="float32")
    cut = [patches.cut(patches.spectrogram(reading.load(path, wanted), spec), spec, path.name) for path in paths]
    return ((np.concatenate(cut) - mean) / deviation).astype(np.float32)


def _unit(rows: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
