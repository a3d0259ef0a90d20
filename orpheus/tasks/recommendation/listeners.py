"""A listener by what he or she has played: folded into the factors, in parts that explain each score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
import scipy.sparse
from pydantic import Field

from orpheus.base import files, schema
from orpheus.data.items import layout, tables, texts
from orpheus.errors import ConfigError, DataError
from orpheus.learning.evaluation import baselines
from orpheus.learning.vectors import factorisation
from orpheus.tasks.recommendation.data import RecommendationData


class Settings(schema.Schema):
    """How counts became confidences when the factors were made, as tools.factorize writes it beside them."""

    weighting: Literal["log", "linear", "binary"] = "log"
    alpha: Annotated[float, Field(ge=0)] = 40.0
    regularization: Annotated[float, Field(ge=0)] = 0.1


@dataclass(frozen=True, eq=False)
class Listener:
    """A direction in the space of factors, and which items it is made of.

    Attributes:
        heard: Items.
        parts: (heard, dim), what each of them brings; their sum is the listener's vector.
    """

    heard: tuple[str, ...]
    parts: np.ndarray

    @property
    def vector(self) -> np.ndarray:
        """(dim,) factors of the listener."""
        return self.parts.sum(axis=0)


@dataclass(frozen=True, eq=False)
class Factorised:
    """Items with factors of their own, and how listeners are folded into them.

    Args:
        data: Of an experiment whose targets are factors.
    """

    data: RecommendationData

    @cached_property
    def table(self) -> tables.Table:
        """Factors of the items that were factorised: the folder's item factors, or the targets of train and val."""
        folder, fact, dim = self.data.folder, self.data.config.data.fact, self.data.dim
        index = folder.factors_index(fact, dim)
        if index.is_file():
            return tables.load(folder.item_factors(fact, dim), layout.read_ids(index), dim=dim)
        subsets = [one for one in ("train", "val") if folder.source(one) == one]
        return tables.stack([tables.targets(folder, one, fact, dim) for one in subsets])

    @cached_property
    def settings(self) -> Settings:
        """Those of the factorisation; its defaults where none are written, as in data of the reference."""
        path = self.data.folder.factors_settings(self.data.config.data.fact, self.data.dim)
        return schema.check(Settings, files.read_json(path), path) if path.is_file() else Settings()

    @cached_property
    def plays(self) -> scipy.sparse.csr_matrix:
        """Counts of the listeners of the training, (users, items of `table`)."""
        folder = self.data.folder
        subsets = [one for one in ("train", "val") if folder.source(one) == one]
        whole = tables.stack([tables.counts(folder, one) for one in subsets])
        return scipy.sparse.csr_matrix(whole.rows(self.table.ids)).T.tocsr()

    def fold_in(self, plays: Mapping[str, float]) -> Listener:
        """A listener who was not in training, by one exact half-step of the alternating least squares.

        Args:
            plays: Item → how often, above 0. Items without factors of their own say nothing of the taste.

        Raises:
            ConfigError: a count that is not above 0.
            DataError: none of the items was factorised.
        """
        for item, count in plays.items():
            if not np.isfinite(count) or count <= 0:
                raise ConfigError(f"plays of {item!r}: {count}; expected a number above 0")
        known = [item for item in plays if item in self.table]
        if not known:
            raise DataError(
                f"{self.table.name}: none of the {len(plays)} played items is there, so nothing is known of the taste; "
                f"it has {', '.join(self.table.ids[:5])}, …"
            )
        columns = self.table.positions(known)
        order = np.argsort(columns)
        row = scipy.sparse.csr_matrix(
            ([plays[known[n]] for n in order], columns[order], [0, len(known)]), shape=(1, len(self.table))
        )
        return self._parts(row)

    def of_training(self, user: int) -> Listener:
        """A listener of the training by number, folded in by the same plays that the factorisation has seen."""
        return self._parts(self.plays[user])

    def _parts(self, row: scipy.sparse.csr_matrix) -> Listener:
        settings = self.settings
        confidences = factorisation.confidence(row, weighting=settings.weighting, alpha=settings.alpha).toarray()[0]
        factors = np.asarray(self.table.matrix)
        parts = factorisation.fold_in_parts(factors, confidences, regularization=settings.regularization)
        return Listener(tuple(self.table.ids[n] for n in np.flatnonzero(confidences)), parts)


def liking(vectors: Mapping[str, np.ndarray]) -> Listener:
    """Someone who likes items: the mean of their directions, and each item's part of it."""
    rows = baselines.unit(np.stack(list(vectors.values())))
    return Listener(tuple(vectors), rows / len(rows))


class Words:
    """Words that a text has in common with other texts, by TF-IDF.

    Args:
        data: Of an experiment; without an input of TF-IDF vectors whose vocabulary is there, no words are found.
    """

    def __init__(self, data: RecommendationData):
        self.data, self.name = data, None
        self.words: tuple[str, ...] = ()
        for name, settings in data.config.inputs.items():
            path = data.folder.text_model(settings.setting or "") if settings.kind == "vector" else None
            if path is not None and path.is_file() and isinstance(model := texts.load_model(path), texts.Tfidf):
                self.name, self.words = name, model.words
                break

    @cached_property
    def _tables(self) -> list[tables.Table]:
        assert self.name is not None
        return [self.data.table(self.name, subset) for subset in layout.SETS]

    def row(self, item: str) -> np.ndarray | None:
        """(words,) weights of an item, None where it has none."""
        if self.name is None:
            return None
        return next((table.dense([item])[0] for table in self._tables if item in table), None)

    def shared(self, row: np.ndarray | None, heard: Sequence[tuple[str, float]], n: int) -> tuple[str, ...]:
        """The words of `row` that count most in the texts of items, each item by its weight; best first.

        Args:
            row: (words,) weights of a text, or None.
            heard: Items and weights; negative ones are left out.
            n: How many words, at most.
        """
        rows = [(self.row(item), weight) for item, weight in heard if weight > 0]
        profile = [weight * other for other, weight in rows if other is not None]
        if row is None or not profile:
            return ()
        common = row * np.sum(profile, axis=0)
        best = np.argsort(-common, kind="stable")[:n]
        return tuple(self.words[column] for column in best if common[column] > 0)
