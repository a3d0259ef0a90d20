"""Recommendations from a trained run: to a user, a new listener, or who likes certain items; listeners of new items."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from orpheus.data.items import layout
from orpheus.errors import ConfigError, DataError
from orpheus.learning.evaluation import baselines, lists
from orpheus.runs import finding
from orpheus.runs.folder import Run
from orpheus.runs.models import load_model
from orpheus.tasks.recommendation import data as recommendation_data
from orpheus.tasks.recommendation import fitting, job, listeners, metrics, new_items, run_table

DEMO = Path("demo") / "recommender"


class Reason(NamedTuple):
    """An item that was heard, and its share of the score; the shares of all that was heard sum to 1."""

    id: str
    name: str
    share: float


class Recommendation(NamedTuple):
    """One place of a list: an item, or a user for whom a new item is; and why, where reasons were asked for."""

    id: str
    name: str
    score: float
    reasons: tuple[Reason, ...] = ()
    words: tuple[str, ...] = ()


class MusicRecommender:
    """Recommends items that nobody has heard yet, by what a run has learned of their features.

    Args:
        run: A recommendation run of `orpheus.experiment`, or a data folder, whose newest one is taken. None: `fit` makes
            one, or `recommend()` does on the demo, made-up data.
        data_dir: Where the run's data folder is now; where it was if None.
        among: The set whose items are recommended.

    Raises:
        DataError: no such run; or it is not of recommendation.

    Example:
        >>> from orpheus import MusicRecommender  # doctest: +SKIP
        >>> MusicRecommender("data/models/model_1").recommend(user="2", k=3)  # doctest: +SKIP
        >>> MusicRecommender().fit("data", "bio", "audio-emb").recommend(plays={"51": 12, "89": 3})  # doctest: +SKIP
    """

    def __init__(
        self, run: str | os.PathLike | None = None, *, data_dir: str | os.PathLike | None = None, among: str = "test"
    ):
        self.among = among
        self.run: Run | None = None
        if run is not None:
            self._load(_find(Path(run).expanduser(), data_dir), data_dir)

    def fit(
        self,
        folder: str | os.PathLike,
        *settings: str,
        experiment: str | None = None,
        overrides: Sequence[str] = (),
        epochs: int | None = None,
        seed: int = 0,
        say: Callable[[str], object] = print,
    ) -> "MusicRecommender":
        """Train on a data folder, predict and evaluate, each step said; the run is then this recommender's.

        Args:
            folder: With splits, features and factors (docs/RECOMMENDATION.md).
            settings: Features of the network's inputs, in their order: ``"bio", "audio-emb"``. None: the only ones that
                the folder has, or its texts and its other ones.
            experiment: One of `orpheus.experiment`; None: ``rec_sparse`` for one setting, ``music_recommender`` for two.
            overrides: ``section.key=value`` strings for its config.
            epochs: At most; the config's if None.
            seed: Of weights, order, dropout and what is held out.
            say: Takes each line.

        Raises:
            ConfigError: which features or factors are meant is not clear; names what there is.
            DataError: a file is missing.
        """
        root = Path(folder).expanduser()
        command = f"MusicRecommender().fit({', '.join(map(repr, [str(root), *settings]))})"
        self._load(
            fitting.train(
                root,
                settings,
                experiment=experiment,
                overrides=overrides,
                epochs=epochs,
                seed=seed,
                command=command,
                say=say,
            )
        )
        return self

    def recommend(
        self,
        *,
        user: str | None = None,
        items: Sequence[str] = (),
        plays: Mapping[str, float] | Sequence[str] = (),
        new: Sequence[str | os.PathLike] = (),
        k: int = 10,
        reasons: int = 0,
    ) -> list[Recommendation]:
        """The best `k`, best first, by one of four questions.

        Args:
            user: Which items for this user? Those already heard are left out.
            items: Which items for someone who likes these?
            plays: Which items for a listener who was not in training, by what he or she has played: items, each once, or
                item → how often. The listener is folded in by the factorisation's own equations; items without factors
                say nothing of the taste.
            new: Who would listen to these new items? Files of audio, text or features (.npy, one row), one for each
                input of the run; of n items n files of each kind, in the same order. With several items the score is
                their mean.
            k: Length of the list.
            reasons: So many heard items that explain each place, and words that its text shares with theirs. The share
                of an item is its part of the score, which is a sum over all that was heard (Hu, Koren, Volinsky 2008,
                section 5); of a user of the training by the vector that folding in the same plays gives.

        Without any of them: train on the demo, show the steps, and recommend to its first user.

        Raises:
            ConfigError: more than one question, or files that do not fit the run's inputs.
            DataError: no such user or item (named), or a file that cannot be read.
        """
        questions = [bool(user), bool(items), bool(plays), bool(new)]
        if sum(questions) > 1 or k < 1 or reasons < 0:
            raise ConfigError(
                f"recommend: give one of user, items, plays and new, k={k} of at least 1, reasons={reasons} of at least 0"
            )
        if self.run is None or not any(questions):
            if any(questions):
                raise ConfigError(
                    "recommend: there is no run yet; give one to MusicRecommender, or call fit() or recommend() first"
                )
            return self._demo(k)
        if new:
            return self._for_new([Path(path) for path in new], k, reasons)
        if user:
            position = self._position(user)
            liked = metrics.user_factors(self.data)[position]
            row = metrics.counts(self.data, self.among)[position]
            heard = {self.candidates[column] for column in row.indices} if self.among != "test" else set()
            listener = self.factorised.of_training(position) if reasons else None
        elif plays:
            counted = dict(plays) if isinstance(plays, Mapping) else dict.fromkeys(plays, 1.0)
            self._check_known(counted)
            listener, heard = self.factorised.fold_in(counted), set(counted)
            liked = listener.vector
        else:
            listener, heard = self._liking(items), set(items)
            liked = listener.vector
        values = self.vectors @ liked
        values[[number for number, item in enumerate(self.candidates) if item in heard]] = -np.inf
        found = self._best(values, self.candidates, self.names, k)
        if not reasons or listener is None:
            return found
        position_of = {item: number for number, item in enumerate(self.candidates)}
        return [
            self._explained(one, listener, self.vectors[position_of[one.id]], self.words.row(one.id), reasons)
            for one in found
        ]

    def _for_new(self, paths: list[Path], k: int, reasons: int) -> list[Recommendation]:
        """Users for new items, by the mean over the items."""
        assert self.run is not None
        vectors = baselines.unit(new_items.outputs(self.run, self.data, paths))
        found = self._best((metrics.user_factors(self.data) @ vectors.T).mean(axis=1), self._users, {}, k)
        if not reasons:
            return found
        text = new_items.text_row(self.data, self.words.name, paths) if self.words.name else None
        return [
            self._explained(
                one, self.factorised.of_training(self._position(one.id)), vectors.mean(axis=0), text, reasons
            )
            for one in found
        ]

    def _explained(
        self, place: Recommendation, listener: listeners.Listener, vector: np.ndarray, text: np.ndarray | None, n: int
    ) -> Recommendation:
        """A place with the items that bring most of its score, and the words its text shares with all that was heard."""
        parts = listener.parts @ np.asarray(vector, np.float64)
        total = parts.sum()
        shares = parts / total if total > 0 else np.zeros_like(parts)
        best = np.argsort(-shares, kind="stable")[:n]
        chosen = tuple(
            Reason(listener.heard[i], self.names.get(listener.heard[i], listener.heard[i]), float(shares[i]))
            for i in best
            if shares[i] > 0
        )
        heard = list(zip(listener.heard, shares.tolist(), strict=True))
        return place._replace(reasons=chosen, words=self.words.shared(text, heard, n))

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
        self.factorised, self.words = listeners.Factorised(self.data), listeners.Words(self.data)
        self.run = run

    def _position(self, user: str) -> int:
        if user not in self._users:
            raise DataError(
                f"{self.data.folder.users_index()}: no user {user!r}; the first ones are {', '.join(self._users[:5])}"
            )
        return self._users.index(user)

    def _check_known(self, items: Sequence[str] | Mapping[str, float]) -> None:
        for item in items:
            if item not in self.factorised.table and item not in self.candidates:
                raise DataError(
                    f"{self.data.folder.root}: no item {item!r}, neither among the {self.among} items nor in "
                    f"{Path(self.factorised.table.name).name}"
                )

    def _liking(self, items: Sequence[str]) -> listeners.Listener:
        """Who likes items: by factors of those that were factorised, by predicted ones of the others."""
        self._check_known(items)
        found = {}
        for item in items:
            if item in self.candidates:
                found[item] = self.vectors[self.candidates.index(item)]
            else:
                found[item] = self.factorised.table.dense([item])[0]
        return listeners.liking(found)

    @staticmethod
    def _best(values: np.ndarray, ids: Sequence[str], names: dict[str, str], k: int) -> list[Recommendation]:
        order = lists.top(np.asarray(values, np.float32)[None], k)[0]
        return [Recommendation(ids[n], names.get(ids[n], ids[n]), float(values[n])) for n in order if n >= 0]

    def _demo(self, k: int, say: Callable[[str], object] = print) -> list[Recommendation]:
        """The whole way on made-up data, each step shown."""
        if self.run is None:
            from orpheus.tasks.recommendation import demo

            say(f"Preprocessing: listeners, biographies and audio embeddings to {DEMO}")
            demo.write(DEMO)
            say("Preprocessing is completed")
            self.fit(DEMO, *demo.SETTINGS, experiment=demo.EXPERIMENT, overrides=demo.OVERRIDES, say=say)
        user = self._users[0]
        found = self.recommend(user=user, k=k, reasons=2)
        say(f"Artists that nobody has heard yet, for {user}:")
        for place, best in enumerate(found, 1):
            say(f"  {place:>2}  {line(best)}")
        return found


def line(place: Recommendation) -> str:
    """A place of a list as text.

    >>> line(Recommendation("a1", "Ana", 0.51, (Reason("b2", "Bo", 0.4),), ("rock",)))
    '0.5100  a1  Ana  (for Bo 40 %; words rock)'
    """
    name = f"  {place.name}" if place.name != place.id else ""
    parts = [f"for {', '.join(f'{one.name} {one.share:.0%}'.replace('%', ' %') for one in place.reasons)}"]
    parts = parts if place.reasons else []
    parts += [f"words {', '.join(place.words)}"] if place.words else []
    return f"{place.score:.4f}  {place.id}{name}" + (f"  ({'; '.join(parts)})" if parts else "")


def read_plays(path: Path) -> dict[str, float]:
    """What a listener has played, from a file: an item a line, or an item and a count, separated by tab or comma.

    Raises:
        DataError: the file is missing or empty, a count is no number above 0, or an item comes twice (line named).
    """
    found: dict[str, float] = {}
    for number, text in enumerate(layout.read_ids(path), 1):
        item, _, count = text.partition("\t" if "\t" in text else ",")
        try:
            value = float(count) if count.strip() else 1.0
        except ValueError:
            value = 0.0
        if not 0 < value < np.inf:
            raise DataError(f"{path}:{number}: count {count.strip()!r} of {item!r}; expected a number above 0")
        if item.strip() in found:
            raise DataError(f"{path}:{number}: item {item.strip()!r} comes twice; add its counts up")
        found[item.strip()] = value
    return found


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
