"""Tags nearest to a tag or a song, by cosine."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from orpheus.errors import ConfigError
from orpheus.semantics.words import tokens

if TYPE_CHECKING:  # it loads TensorFlow
    from orpheus.tasks.search.tagger_space import Space


class Near(NamedTuple):
    """One place of a list of tags, with its cosine."""

    tag: str
    score: float


def nearest_tags(vector: np.ndarray, names: Sequence[str], rows: np.ndarray, k: int) -> list[Near]:
    """The tags whose vectors are nearest to a vector.

    Args:
        vector: (dimension,) of length 1.
        names: Of tags.
        rows: (len(names), dimension), each of length 1.
        k: Length of the list, at least 1.

    Raises:
        ConfigError: `k` is less.
    """
    return highest(names, rows @ vector, k)


def highest(names: Sequence[str], scores: np.ndarray, k: int) -> list[Near]:
    """The `k` tags with the highest scores; errors as of `nearest_tags`."""
    if k < 1:
        raise ConfigError(f"k={k}: must be at least 1")
    return [Near(names[place], float(scores[place])) for place in np.argsort(-scores, kind="stable")[:k]]


def neighbours(
    retriever: "Space", tag: str, k: int = 10, *, among: Sequence[str] | None = None, of_words: bool = False
) -> list[Near]:
    """The tags nearest to a tag in the space of a run.

    Args:
        retriever: Of the run.
        tag: Any that it knows.
        k: Length of the list.
        among: Candidates; None for the tags of training.
        of_words: By the word vectors alone, as in table 3 of Won et al. 2021, and not by what was learned.

    Raises:
        DataError: nothing is known of the tag, or of a candidate.
    """
    names = [name for name in (retriever.training_tags if among is None else among) if tokens(name) != tokens(tag)]
    rows = (retriever.word_vectors if of_words else retriever.tags)([tag, *names])
    return nearest_tags(rows[0], names, rows[1:], k)
