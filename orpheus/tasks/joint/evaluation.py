"""A joint run evaluated on one split: its three answers with intervals and baselines, and tables of them."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from orpheus.base import files
from orpheus.base.text_table import alone, bounded, number
from orpheus.learning.evaluation import calibration
from orpheus.runs import comparability
from orpheus.runs.folder import Run
from orpheus.runs.models import load_model
from orpheus.tasks.joint import baselines, embedding, metrics
from orpheus.tasks.joint.baselines import Learned
from orpheus.tasks.joint.data import JointData, Progress, load_config
from orpheus.tasks.retrieval.evaluation import check_comparable, scores_of
from orpheus.tasks.scores import Scores

log = logging.getLogger(__name__)
TITLES = {"tag_songs": "songs for a tag", "song_tags": "tags of a song", "listener_songs": "songs for a listener"}
__all__ = ["check_comparable", "evaluate", "hashes", "learned_of", "save_listeners", "table"]
_SHOWN = ("MAP", "P@", "ROC-AUC", "PR-AUC", "nDCG")


def evaluate(
    run: Run,
    data: JointData,
    split: str,
    *,
    replicates: int | None = None,
    progress: Progress = lambda items: items,
) -> tuple[dict[str, Any], Scores | None, dict[str, np.ndarray]]:
    """Metrics of a run on one split, as metrics.json holds them (see `metrics.evaluate`), and what they are made from.

    Args:
        run: The run.
        data: `joint.data.reopen_data(run)`.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        replicates: Of the 95 % intervals; None for 200, 0 for none.
        progress: Wraps the batches.

    Returns:
        The metrics; scores of the tagged songs, None of a run that has not learned tags; metric → (listeners,) values.
    """
    rows = data.songs_of(split)
    found = embedding.outputs(load_model(run), data, rows, load_config(run), progress=progress)
    truth = embedding.truth(data, rows)
    others = baselines.outputs(truth, learned_of(data, split))
    result = metrics.evaluate(found, truth, baselines=others, replicates=200 if replicates is None else replicates)
    per_user = result.get("listener_songs", {}).pop("per_user", {})
    scores = None
    if found.tag_scores is not None and truth.tagged.any():
        kept = truth.tagged
        probable = None if found.probabilities is None else found.probabilities[kept]
        scores = scores_of(data, rows[kept], truth.labels[kept], found.tag_scores[kept], probable)
    return {"hashes": hashes(data), **result}, scores, per_user


def learned_of(data: JointData, split: str) -> Learned:
    """What the baselines may know: tags, listeners and texts of the training songs, and the texts of the split's."""
    train, texts = data.songs_of("train"), data.tables.get("text")
    return Learned(
        labels=data.given(train),
        heard=data.history() if len(data.listeners) else None,
        features=None if texts is None else texts[train],
        of_songs=None if texts is None else texts[data.songs_of(split)],
    )


def hashes(data: JointData) -> dict[str, str]:
    """Those of the data, and ``"tagged"``: the split of the songs that have a tag, by which retrieval runs compare."""
    tagged = np.diff(data.labels.indptr) > 0
    parts = {name: [data.ids[row] for row in rows if tagged[row]] for name, rows in data.splits.items()}
    return {**data.hashes(), "tagged": comparability.of_split(parts)}


def save_listeners(run: Run, split: str, per_user: Mapping[str, np.ndarray], listeners: Sequence[str]) -> None:
    """Write RUN/per_user_SPLIT.npz, by which reports compare runs, listener by listener.

    Args:
        run: The run.
        split: Of it.
        per_user: Metric → (listeners,).
        listeners: Their ids.
    """
    values = {name: one.astype(np.float32) for name, one in per_user.items()}
    with files.atomic(run.folder / f"per_user_{split}.npz", "wb") as file:
        np.savez_compressed(file, ids=np.array(listeners), **values)


def table(result: Mapping[str, Any], split: str) -> str:
    """The evaluation as text: tags by falling MAP, then each question with its baselines."""
    found = result.get("tag_songs", {}).get("per_class", {})
    rows = sorted(found.items(), key=lambda item: -(item[1]["MAP"] or 0))
    width = max(20, *(len(name) for name, _ in rows), *(len(name) for name in result.get("baselines", ())))
    lines = [f"{split}: {result['songs']} songs"]
    if rows:
        lines.append(f"{'tag':<{width}}  positives       MAP   ROC-AUC      P@10       ECE")
    errors = result.get("song_tags", {}).get("calibration", {}).get("per_class", {})
    for name, row in rows:
        values = [row["MAP"], row["ROC-AUC"], row["P@10"], errors.get(name)]
        lines.append(f"{name:<{width}}  {row['positives']:>9}" + "".join(f"{number(one, 4):>10}" for one in values))
    for question, title in TITLES.items():
        if question in result:
            lines += ["", *_question(result, question, title, width)]
    if "calibration" in result.get("song_tags", {}):
        lines.append(calibration.described(result["song_tags"]["calibration"]))
    lines.append(f"mean of the {sum(one in result for one in TITLES)} questions' MAP: {number(result['mean'], 4)}")
    return "\n".join(lines)


def _question(result: Mapping[str, Any], question: str, title: str, width: int) -> list[str]:
    own = result[question]
    names = [key for key in own if key.startswith(_SHOWN)]
    compared = {name: one[question] for name, one in result.get("baselines", {}).items() if question in one}
    bounds = own.get("intervals") or {}
    lines = [f"{title:<{width}}  " + "".join(f"{name:>10}" for name in names)]
    for name, row in {"this run": own, **compared}.items():
        lines.append(f"{name:<{width}}  " + "".join(f"{number(row.get(key), 4):>10}" for key in names))
    if any(bounds.get(key) for key in names):
        shown = "  ".join(f"{key} {bounded(own[key], bounds.get(key), 4)}" for key in names)
        lines.append(f"{'with 95 % intervals':<{width}}  {shown}")
    elif bounds.get("groups") == 1:
        lines.append(alone("artist"))
    if own.get("left_out"):
        lines.append(f"left out of the means (one kind of label only): {', '.join(own['left_out'])}")
    return lines
