"""How well tags find songs: P@10, ROC-AUC and MAP per tag and their means, by category, zero-shot tags apart."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from orpheus.learning.evaluation import areas as evaluation_areas
from orpheus.learning.evaluation import bootstrap, lists

METRICS = ("MAP", "ROC-AUC", "P@10")
_CUTOFF = 10


def summarise(
    targets: np.ndarray,
    scores: np.ndarray,
    tags: Sequence[str],
    *,
    categories: Mapping[str, str] | None = None,
    zero_shot: np.ndarray | None = None,
) -> dict[str, Any]:
    """Metrics of ranking all songs for each tag.

    A tag's average precision and ROC-AUC are those of `areas.summarise`; MAP is their mean over tags. P@10 is the share
    of a tag's songs among its first ten.

    Args:
        targets: (songs, tags) bool.
        scores: (songs, tags), higher is nearer.
        tags: Names of the columns.
        categories: Tag → category; of tags that have one.
        zero_shot: (tags,) bool, tags that training has not seen: their means stand apart.

    Returns:
        ``{"songs", "macro": {metric: mean}, "zero_shot": {metric: mean} or None, "categories": {name: {"tags": n,
        metric: mean}}, "left_out": [tags], "per_class": {tag: {"positives", "MAP", "ROC-AUC", "P@10"}}}``; None where a
        value is not defined. "macro" is over the tags that training has seen.
    """
    plain = evaluation_areas.summarise(targets, scores, tags)
    best = lists.top(np.ascontiguousarray(np.asarray(scores).T), _CUTOFF)
    hit = np.take_along_axis(np.asarray(targets, bool).T, np.maximum(best, 0), axis=1) & (best >= 0)
    at_ten = lists.precision_at(hit, _CUTOFF)
    per_class = {}
    for column, (name, row) in enumerate(plain["per_class"].items()):
        defined = row["roc_auc"] is not None
        per_class[name] = {
            "positives": row["positives"],
            "MAP": row["pr_auc"],
            "ROC-AUC": row["roc_auc"],
            "P@10": float(at_ten[column]) if defined else None,
        }
    unseen = np.zeros(len(tags), bool) if zero_shot is None else np.asarray(zero_shot)
    seen = [str(tag) for tag, skip in zip(tags, unseen, strict=True) if not skip]
    categories = categories or {}
    groups = {name: [tag for tag in seen if categories.get(tag) == name] for name in sorted(set(categories.values()))}
    return {
        "songs": plain["tracks"],
        "macro": _mean(per_class, seen),
        "zero_shot": _mean(per_class, [str(t) for t, one in zip(tags, unseen, strict=True) if one])
        if unseen.any()
        else None,
        "categories": {name: {"tags": len(own), **_mean(per_class, own)} for name, own in groups.items() if own},
        "left_out": plain["left_out"],
        "per_class": per_class,
    }


def _mean(per_class: Mapping[str, Mapping[str, Any]], tags: Sequence[str]) -> dict[str, float | None]:
    found = {}
    for metric in METRICS:
        values = [per_class[tag][metric] for tag in tags if per_class[tag][metric] is not None]
        found[metric] = float(np.mean(values)) if values else None
    return found


def intervals(
    targets: np.ndarray,
    scores: np.ndarray,
    tags: Sequence[str],
    groups: Sequence[str],
    *,
    zero_shot: np.ndarray | None = None,
    n: int = 200,
    seed: int = 0,
) -> dict[str, Any]:
    """95 % bounds of what `summarise` reports: of areas over resampled artists, of P@10's mean over resampled tags.

    Arguments as `summarise`; `groups` is each song's artist (or the song).

    Returns:
        ``{"macro": {metric: [low, high] or None}, "zero_shot": …, "per_class": {tag: {"MAP", "ROC-AUC"}}, …}``.
    """
    targets, scores, tags = np.asarray(targets, bool), np.asarray(scores), list(map(str, tags))
    unseen = np.zeros(len(tags), bool) if zero_shot is None else np.asarray(zero_shot)
    found: dict[str, Any] = {"level": 0.95, "replicates": n, "per_class": {}}
    for name, wanted in (("macro", ~unseen), ("zero_shot", unseen)):
        if not wanted.any():
            found[name] = None
            continue
        names = [tag for tag, one in zip(tags, wanted, strict=True) if one]
        areas = bootstrap.area_intervals(targets[:, wanted], scores[:, wanted], groups, names, n=n, seed=seed)
        rows = summarise(targets[:, wanted], scores[:, wanted], names)["per_class"]
        values = np.array([row["P@10"] for row in rows.values() if row["P@10"] is not None])
        at_ten = None
        if len(values):
            bounds = bootstrap.interval(values, range(len(values)), n=max(n, 200), seed=seed)
            at_ten = None if np.isnan(bounds.low) else [float(bounds.low), float(bounds.high)]
        found[name] = {"MAP": areas["macro"]["pr_auc"], "ROC-AUC": areas["macro"]["roc_auc"], "P@10": at_ten}
        found["groups"] = areas["groups"]
        found["per_class"] |= {
            tag: {"MAP": row["pr_auc"], "ROC-AUC": row["roc_auc"]} for tag, row in areas["per_class"].items()
        }
    return found
