"""How well one space answers its three questions: songs for a tag, tags of a song, songs for a listener. Arrays alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from orpheus.errors import DataError
from orpheus.learning.evaluation import areas, bootstrap, calibration, lists
from orpheus.tasks.retrieval import metrics as retrieval_metrics

# Question → the figure that stands for it; their mean is `mean`.
HEADLINES = {"tag_songs": "MAP", "song_tags": "MAP", "listener_songs": "MAP@500"}
K = 500  # length of listeners' lists
_FIRST = 10
_SONG_AREAS = {"roc_auc": "ROC-AUC", "pr_auc": "PR-AUC"}


@dataclass(frozen=True)
class Outputs:
    """What a model makes of the songs of a split; None where it does not answer.

    Attributes:
        tag_scores: (songs, tags), higher is nearer: tags rank songs by it.
        probabilities: (songs, tags) from 0 to 1: songs rank tags by it.
        listener_scores: Numbers of listeners, rows of `Truth.heard` → (listeners, songs): songs are ranked by it.
    """

    tag_scores: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    listener_scores: Callable[[np.ndarray], np.ndarray] | None = None

    @classmethod
    def of_vectors(
        cls, songs: np.ndarray, tags: np.ndarray, probabilities: np.ndarray | None, listeners: np.ndarray | None
    ) -> "Outputs":
        """Of places in the space: (songs, d), (tags, d) and (listeners, d)."""
        rows = None if listeners is None else (lambda numbers: listeners[numbers] @ songs.T)
        return cls(songs @ tags.T, probabilities, rows)


@dataclass(frozen=True)
class Truth:
    """What is known of the songs of a split.

    Attributes:
        tags: Names of the tags.
        labels: (songs, tags) bool. A song without any of the tags is no answer and no negative to a tag: nobody has
            tagged it. It is recommended all the same.
        groups: (songs,) artist of each, or the song.
        heard: (listeners, songs) sparse, not zero where the listener has played the song; None without listeners.
        excluded: As `heard`: what they are not to be recommended.
        categories: Tag → category.
    """

    tags: Sequence[str]
    labels: np.ndarray
    groups: Sequence[str]
    heard: sparse.spmatrix | None = None
    excluded: sparse.spmatrix | None = None
    categories: Mapping[str, str] | None = None

    @property
    def tagged(self) -> np.ndarray:
        """(songs,) bool: whether it has any of the tags."""
        return np.asarray(self.labels, bool).any(axis=1)


def summarise(outputs: Outputs, truth: Truth, *, most_listeners: int | None = 2000, k: int = K) -> dict[str, float]:
    """What validation says after each epoch: the figure of each question, their mean and the calibration error.

    Args:
        outputs: Of the validation songs.
        truth: Of them.
        most_listeners: Of those who have played any of the songs so many are asked, evenly spread; None for all.
        k: Length of listeners' lists.

    Returns:
        ``{"mean", "tag_songs", "song_tags", "listener_songs", "ECE"}``, those that are defined.
    """
    found = figures(outputs, truth, k=k, most_listeners=most_listeners, calibrated=False)
    result = headlines(found)
    if outputs.probabilities is not None and truth.tagged.any():
        rows = truth.tagged
        error = calibration.expected_calibration_error(truth.labels[rows], outputs.probabilities[rows])
        result["ECE"] = error
    return result


def headlines(found: Mapping[str, Any]) -> dict[str, float]:
    """The figure of each question that has an answer, by its name, and ``"mean"`` of them."""
    values = {}
    for question, metric in HEADLINES.items():
        row = found.get(question) or {}
        name = next((key for key in row if key.startswith("MAP")), metric)
        if row.get(name) is not None:
            values[question] = float(row[name])
    return ({"mean": float(np.mean(list(values.values())))} if values else {}) | values


def evaluate(
    outputs: Outputs,
    truth: Truth,
    *,
    baselines: Mapping[str, Outputs] | None = None,
    replicates: int = 200,
    k: int = K,
    seed: int = 0,
) -> dict[str, Any]:
    """Every figure with its interval, and what needs no model beside it.

    Args:
        outputs: Of the songs of a split.
        truth: Of them.
        baselines: Name → what it makes of the same songs.
        replicates: Of the 95 % intervals; 0 for none.
        k: Length of listeners' lists.
        seed: Of the draws.

    Returns:
        ``{"songs", "mean", "tag_songs": {"MAP", "ROC-AUC", "P@10", …}, "song_tags": {"MAP", "ROC-AUC", "PR-AUC",
        "calibration", …}, "listener_songs": {"MAP@k", "nDCG@k", "P@10", "listeners"}, "baselines": {name: {question:
        {metric: value}}}}``, questions without an answer left out; each question has its ``"intervals"``, [low, high] by
        metric: over artists, P@10 of tags over tags, of listeners' lists over listeners. ``"per_user"`` of
        `listener_songs`, metric → (listeners,), is an array, which JSON cannot hold.

    Raises:
        DataError: shapes do not fit, or nothing can be evaluated.
    """
    result = figures(outputs, truth, k=k, replicates=replicates, seed=seed)
    if not headlines(result):
        raise DataError("no song of the split has any of the tags or a listener; nothing can be evaluated")
    found: dict[str, Any] = {"songs": len(truth.labels), "mean": headlines(result)["mean"], **result}
    if baselines:
        compared = {name: figures(one, truth, k=k, calibrated=False) for name, one in baselines.items()}
        found["baselines"] = {name: _plain(one) for name, one in compared.items()}
    return found


def _plain(found: Mapping[str, Any]) -> dict[str, Any]:
    """Of every question the figures alone, and their mean where all are there."""
    rows = {
        question: {key: value for key, value in row.items() if key in _SHOWN or key.startswith(_SHOWN_AT)}
        for question, row in found.items()
    }
    values = headlines(found)
    return ({"mean": values["mean"]} if len(values) == len(HEADLINES) + 1 else {}) | rows


_SHOWN, _SHOWN_AT = ("MAP", "ROC-AUC", "PR-AUC"), ("MAP@", "nDCG@", "P@")


def figures(
    outputs: Outputs,
    truth: Truth,
    *,
    k: int = K,
    replicates: int = 0,
    seed: int = 0,
    most_listeners: int | None = None,
    calibrated: bool = True,
) -> dict[str, Any]:
    """The questions that have an answer, as of `evaluate`; all listeners unless `most_listeners` says how many."""
    found: dict[str, Any] = {}
    rows = truth.tagged
    labels, groups = (
        np.asarray(truth.labels, bool)[rows],
        [g for g, kept in zip(truth.groups, rows, strict=True) if kept],
    )
    if outputs.tag_scores is not None and rows.any():
        scores = _fitting(outputs.tag_scores, truth.labels, "scores of tags")[rows]
        found["tag_songs"] = _tag_songs(labels, scores, truth, groups, replicates, seed)
    if outputs.probabilities is not None and rows.any():
        scores = _fitting(outputs.probabilities, truth.labels, "probabilities")[rows]
        found["song_tags"] = _song_tags(labels, scores, truth.tags, groups, replicates, seed, calibrated)
    if outputs.listener_scores is not None and truth.heard is not None and truth.heard.nnz:
        found["listener_songs"] = _listener_songs(outputs.listener_scores, truth, k, replicates, seed, most_listeners)
    return found


def _fitting(scores: np.ndarray, labels: np.ndarray, name: str) -> np.ndarray:
    scores = np.asarray(scores)
    if scores.shape != labels.shape:
        raise DataError(f"{name}: shape {scores.shape}, and labels have {labels.shape}: both must be (songs, tags)")
    return scores


def _tag_songs(labels, scores, truth: Truth, groups: list[str], replicates: int, seed: int) -> dict[str, Any]:
    """All songs ranked for each tag: retrieval's figures, the means over tags first."""
    plain = retrieval_metrics.summarise(labels, scores, truth.tags, categories=truth.categories)
    result = {**plain["macro"], **{key: plain[key] for key in ("songs", "categories", "left_out", "per_class")}}
    if replicates:
        bounds = retrieval_metrics.intervals(labels, scores, truth.tags, groups, n=replicates, seed=seed)
        result["intervals"] = {**bounds.pop("macro"), **{key: bounds[key] for key in ("groups", "per_class")}}
    return result


def _song_tags(labels, probabilities, tags, groups, replicates: int, seed: int, calibrated: bool) -> dict[str, Any]:
    """All tags ranked for each song, areas per tag over songs, and whether probabilities mean what they say.

    A tag's areas over songs are those of `tag_songs` where its probability rises with its score, as a scale and a bias per
    tag make it; what they cannot see is whether the probabilities of two tags of one song compare. MAP over songs can.
    """
    plain = areas.summarise(labels, probabilities, tags)
    precisions = song_precisions(labels, probabilities)
    result = {
        "MAP": float(np.nanmean(precisions)),
        **{name: plain["macro"][key] for key, name in _SONG_AREAS.items()},
        "songs": plain["tracks"],
        "left_out": plain["left_out"],
        "per_class": {
            tag: {"positives": row["positives"], **{name: row[key] for key, name in _SONG_AREAS.items()}}
            for tag, row in plain["per_class"].items()
        },
    }
    if calibrated:
        result["calibration"] = calibration.summarise(
            labels, probabilities, tags, groups=groups, n=replicates, seed=seed
        )
    if replicates:
        bounds = bootstrap.area_intervals(labels, probabilities, groups, tags, n=replicates, seed=seed)
        result["intervals"] = {
            "MAP": _bounds(bootstrap.interval(precisions, groups, n=replicates, seed=seed)),
            **{name: bounds["macro"][key] for key, name in _SONG_AREAS.items()},
            "groups": bounds["groups"],
            "per_class": {
                tag: {name: row[key] for key, name in _SONG_AREAS.items()} for tag, row in bounds["per_class"].items()
            },
        }
    return result


def song_precisions(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(songs,) average precision of each song's ranking of all tags; nan of a song without any.

    Args:
        labels: (songs, tags) bool; some song has a tag.
        scores: (songs, tags), higher is likelier.
    """
    tags = labels.shape[1]
    ranked = lists.evaluate_lists(
        lambda start, stop: scores[start:stop], sparse.csr_matrix(labels), k=tags, cutoffs=(), roc=False
    )
    return ranked["per_user"][f"MAP@{tags}"]


def _listener_songs(
    score_rows: Callable[[np.ndarray], np.ndarray],
    truth: Truth,
    k: int,
    replicates: int,
    seed: int,
    most: int | None,
) -> dict[str, Any]:
    """All songs of the split that a listener may be recommended, ranked for each listener."""
    assert truth.heard is not None
    heard = sparse.csr_matrix(truth.heard)
    asked = np.flatnonzero(np.diff(heard.indptr))
    if most is not None and len(asked) > most:
        asked = asked[np.linspace(0, len(asked) - 1, most).round().astype(int)]
    found = lists.evaluate_lists(
        lambda start, stop: score_rows(asked[start:stop]),
        heard[asked],
        k=k,
        cutoffs=[_FIRST] if k >= _FIRST else [],
        exclude=None if truth.excluded is None else sparse.csr_matrix(truth.excluded)[asked],
        roc=False,
    )
    names = [f"MAP@{k}", f"nDCG@{k}", *([f"P@{_FIRST}"] if k >= _FIRST else [])]
    per_user = {name: np.full(heard.shape[0], np.nan) for name in names}
    for name in names:
        per_user[name][asked] = found["per_user"][name]
    result: dict[str, Any] = {name: found["mean"][name] for name in names}
    result |= {"listeners": found["users"], "coverage": found["coverage"][f"C@{k}"], "per_user": per_user}
    if replicates:
        values = np.stack(list(per_user.values()), axis=1)
        bounds = bootstrap.interval(values, range(len(values)), n=replicates, seed=seed)
        pairs = zip(names, np.atleast_1d(bounds.low), np.atleast_1d(bounds.high), strict=True)
        result["intervals"] = {name: None if np.isnan(low) else [float(low), float(high)] for name, low, high in pairs}
    return result


def _bounds(found: bootstrap.Interval) -> list[float] | None:
    return None if np.isnan(found.low) else [float(found.low), float(found.high)]
