"""A model of clusters against a model of tags: what knows more of a cluster, its own output or those of its tags?"""

import logging
import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from orpheus.base.text_table import alone
from orpheus.data.batches import epochs
from orpheus.data.batches.split_records import SplitRecords
from orpheus.errors import ConfigError, DataError
from orpheus.learning.engine import inference
from orpheus.learning.evaluation import bootstrap
from orpheus.runs import comparability
from orpheus.runs.folder import Run
from orpheus.runs.models import load_model
from orpheus.tasks.tagging import evaluation
from orpheus.tasks.tagging.data import TaggingData, load_config, reopen_data, windows

log = logging.getLogger(__name__)


def compare(
    cluster_run: Run,
    tag_run: Run,
    split: str = "test",
    *,
    tfrecords_dir: str | os.PathLike | None = None,
    batch_size: int = 32,
    replicates: int | None = None,
    different_splits: bool = False,
    progress: Callable[[Iterable], Iterable] = lambda items: items,
) -> dict[str, Any]:
    """Evaluate both models on the clusters, class by class, on the same tracks.

    The rule by which a tag model tells a cluster is the highest of its scores of the cluster's tags that it knows.
    The tracks are those of `split` in both runs that have any clustered tag.

    Args:
        cluster_run: Trained with --dictionary-dir.
        tag_run: Trained on tags, of either frontend.
        split: ``"test"`` or ``"valid"``.
        tfrecords_dir: Where the records of the cluster run are now (of both, when of one frontend); None for where
            they were.
        batch_size: Windows per pass.
        replicates: Of the bootstrap over artists; 0 for no intervals, None for `evaluation.default_replicates`.
        different_splits: Compare on the tracks in common although their splits hold other tracks.
        progress: Wraps the batches of each model.

    Returns:
        ``{"tag_run", "split", "tracks", "compared", "not_compared": [names], "clusters": …, "rule": …,
        "rules": {cluster: [tags]}, "difference": …}``; clusters and rule as `evaluation.summarise` over the compared
        clusters, those of which the tag model knows a tag; the difference, clusters minus rule, as `bootstrap.area_differences`.

    Raises:
        ConfigError: the runs are not one of each kind, or `split` is of training.
        DataError: one run was trained on tracks that the other is evaluated on, or nothing can be compared.
    """
    if split == "train":
        raise ConfigError("--compare-tags with --split train: models are compared on unseen tracks; take test or valid")
    for run in (cluster_run, tag_run):
        run.check_task("tagging", "--compare-tags compares runs of taggers")
    mine = reopen_data(cluster_run, tfrecords_dir=tfrecords_dir)
    same_frontend = cluster_run.read("run")["frontend"] == tag_run.read("run")["frontend"]
    other = reopen_data(tag_run, tfrecords_dir=tfrecords_dir if same_frontend else None)
    for run, data, kind in ((cluster_run, mine, "clusters"), (tag_run, other, "tags")):
        if data.targets.kind != kind:
            order = "python -m orpheus.evaluate CLUSTER_RUN --compare-tags TAG_RUN"
            raise ConfigError(f"{run.folder}: a run on {data.targets.kind}, expected one on {kind}: {order}")
    _check_unseen(mine, cluster_run, other, tag_run, split)
    _check_unseen(other, tag_run, mine, cluster_run, split)
    named = {str(run.folder): {"hashes": data.hashes()} for run, data in ((cluster_run, mine), (tag_run, other))}
    for note in comparability.check_split(named, keys=("split",), different_splits=different_splits):
        log.warning("%s", note)
    own, theirs = mine.records_of(split), other.records_of(split)
    # The tag model, too, is asked about every track with a clustered tag, whether it has one of its own or not.
    theirs = SplitRecords(theirs.catalogue, theirs.shards, mine.targets, theirs.database)
    position = {row.track_id: index for index, row in enumerate(theirs.rows())}
    rows = [(index, position[row.track_id]) for index, row in enumerate(own.rows()) if row.track_id in position]
    if not rows:
        raise DataError(f"{cluster_run.folder} and {tag_run.folder}: their {split} splits have no track in common")
    rules = {
        name: [tag for tag, column in mine.targets.columns.items() if column == index and tag in other.targets.columns]
        for index, name in enumerate(mine.targets.classes)
    }
    compared = [index for index, name in enumerate(mine.targets.classes) if rules[name]]
    if not compared:
        raise DataError(f"{tag_run.folder}: knows no tag of the clusters of {cluster_run.folder}")
    names = [mine.targets.classes[index] for index in compared]
    at_own, at_theirs = (list(side) for side in zip(*rows, strict=True))
    truth = own.truth()[at_own][:, compared]
    scores = track_scores(cluster_run, own, batch_size=batch_size, progress=progress)[at_own][:, compared]
    tag_scores = track_scores(tag_run, theirs, batch_size=batch_size, progress=progress)[at_theirs]
    groups = [row.group or row.track_id for index, row in enumerate(own.rows()) if row.track_id in position]
    replicates = evaluation.default_replicates(truth.size) if replicates is None else replicates
    by_rule = np.stack([tag_scores[:, [other.targets.columns[t] for t in rules[n]]].max(axis=1) for n in names], axis=1)
    return {
        "tag_run": str(tag_run.folder),
        "split": split,
        "tracks": len(rows),
        "compared": len(names),
        "not_compared": [name for name in mine.targets.classes if not rules[name]],
        "clusters": evaluation.summarise(truth, scores, groups, names, replicates),
        "rule": evaluation.summarise(truth, by_rule, groups, names, replicates),
        "difference": bootstrap.area_differences(truth, scores, by_rule, groups, names, n=replicates)
        if replicates
        else {},
        "rules": {name: rules[name] for name in names},
    }


def _check_unseen(trained: TaggingData, run: Run, evaluated: TaggingData, judged_run: Run, split: str) -> None:
    """Refuse where `run` was trained on tracks of the other's `split`."""
    seen = {row.track_id for row in trained.catalogue.rows(trained.split["train"])}
    held = [row.track_id for row in evaluated.catalogue.rows(evaluated.split[split]) if row.track_id in seen]
    if held:
        raise DataError(
            f"{run.folder}: was trained on {len(held)} of the {split} tracks of {judged_run.folder} ({held[0]}, …); "
            "train both on records of one split"
        )


def track_scores(
    run: Run,
    records: SplitRecords,
    *,
    batch_size: int = 32,
    progress: Callable[[Iterable], Iterable] = lambda items: items,
) -> np.ndarray:
    """(tracks, classes of the run) float32 mean scores over all windows of each of `records.rows()`."""
    batches = epochs.all_windows(records, windows(load_config(run)), batch_size=batch_size)
    return inference.by_track(load_model(run), batches, len(records.rows()), progress=progress)[0]


def table(result: dict[str, Any]) -> str:
    """The comparison as text: clusters by how much better their own model is, then the means."""
    own, rule = result["clusters"], result["rule"]
    names = sorted(own["per_class"], key=lambda name: -_gain(own["per_class"][name], rule["per_class"][name]))
    width = max(12, *map(len, names))
    lines = [
        f"{result['split']}: {result['tracks']} tracks; clusters, and the highest score of their tags that "
        f"{result['tag_run']} knows",
        f"{'':<{width}}             ROC-AUC            PR-AUC",
        f"{'cluster':<{width}}  positives  cluster     tags  cluster     tags  known tags",
    ]
    for name in names:
        a, b = own["per_class"][name], rule["per_class"][name]
        lines.append(f"{name:<{width}}  {a['positives']:>9}  {_pairs(a, b)}  {len(result['rules'][name]):>10}")
    lines.append("")
    lines += [f"{average:<{width}}  {'':>9}  {_pairs(own[average], rule[average])}" for average in ("macro", "micro")]
    for average in ("macro", "micro") if result["difference"] else ():
        areas = result["difference"][average]
        shown = [_difference(areas[key]) for key in areas]
        lines.append(f"clusters minus tags, {average}, with 95 % interval: ROC-AUC {shown[0]}, PR-AUC {shown[1]}")
    if result["not_compared"]:
        lines.append(f"not compared (the tag model knows none of their tags): {'; '.join(result['not_compared'])}")
    if own["left_out"]:
        lines.append(f"left out of the macro means (one kind of label only): {'; '.join(own['left_out'])}")
    return "\n".join(lines)


def _difference(one: dict) -> str:
    if one["value"] is None:
        return "–"
    if one["low"] is None:
        return f"{one['value']:+.4f} ({alone('artist')})"
    return "{value:+.4f} [{low:+.4f}, {high:+.4f}]".format(**one)


def _gain(own: dict, rule: dict) -> float:
    return -1.0 if own["pr_auc"] is None else own["pr_auc"] - rule["pr_auc"]


def _pairs(own: dict, rule: dict) -> str:
    values = (own["roc_auc"], rule["roc_auc"], own["pr_auc"], rule["pr_auc"])
    return "  ".join(f"{value:7.4f}" if value is not None else "      –" for value in values)
