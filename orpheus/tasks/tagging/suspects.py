"""Tags that are probably missing or wrong: where a model and the annotations disagree most, for people to listen to."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from orpheus.base import csv_files, files

MISSING, WRONG = "missing", "wrong"
_LEAST = 1e-6  # probabilities are kept this far from 0 and 1


class Suspect(NamedTuple):
    """One track and tag.

    Attributes:
        track: Index of the track.
        column: Index of the class.
        direction: ``"missing"``: not annotated, the model hears it; ``"wrong"``: annotated, the model does not.
        score: Logarithm of the odds by which the annotation is doubted, up to a constant; see `disagreement`.
    """

    track: int
    column: int
    direction: str
    score: float


def disagreement(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """How much each annotation is doubted: log odds that it is an error, up to a constant that all share.

    Let p be the model's probability, q the tag's share of the tracks, and annotators make mistakes on a share ε of what
    they should have written, and invent as much. By Bayes' rule the odds that a tag is missing are ε p / (1 − p). An
    annotated tag is wrong with odds ε · q / (1 − q) · (1 − p) / p: rare tags have low probabilities everywhere, so what
    counts is how far p is below the tag's own share. A tag that the model knows nothing of (p = q) is never doubted.

    Args:
        truth: (tracks, classes) bool.
        probabilities: (tracks, classes) in 0…1.

    Returns:
        (tracks, classes) float64.
    """
    truth = np.asarray(truth, bool)
    p = np.clip(np.asarray(probabilities, np.float64), _LEAST, 1 - _LEAST)
    share = np.clip(truth.mean(axis=0), _LEAST, 1 - _LEAST)
    odds, prior = np.log(p / (1 - p)), np.log(share / (1 - share))
    return np.where(truth, prior - odds, odds)


def find(truth: np.ndarray, probabilities: np.ndarray, *, count: int = 200) -> list[Suspect]:
    """The most doubted annotations, most doubted first; arguments as `disagreement`.

    Args:
        truth: (tracks, classes) bool.
        probabilities: (tracks, classes) in 0…1.
        count: At most so many; only those with more doubt than none are listed (score above 0).
    """
    doubt = disagreement(truth, probabilities)
    order = np.argsort(-doubt, axis=None, kind="stable")[:count]
    rows, columns = np.unravel_index(order, doubt.shape)
    return [
        Suspect(int(row), int(column), WRONG if truth[row, column] else MISSING, float(doubt[row, column]))
        for row, column in zip(rows, columns, strict=True)
        if doubt[row, column] > 0
    ]


def write_csv(
    path: str | os.PathLike,
    suspects: Sequence[Suspect],
    probabilities: np.ndarray,
    ids: Sequence[str],
    classes: Sequence[str],
    paths: Mapping[str, str],
) -> None:
    """Write suspects as a table: track_id, path (empty where unknown), tag, direction, probability, score."""
    rows: list[list[Any]] = [["track_id", "path", "tag", "direction", "probability", "score"]]
    for one in suspects:
        track = ids[one.track]
        probability = probabilities[one.track, one.column]
        rows.append(
            [track, paths.get(track, ""), classes[one.column], one.direction, f"{probability:.4f}", f"{one.score:.3f}"]
        )
    with files.atomic(Path(path).expanduser()) as file:
        csv_files.write(file, rows)
