"""Exact ROC-AUC and PR-AUC of an evaluation, 50,000 tracks × 200 classes, against scikit-learn; and the memory they take.

Per class, macro and micro, as orpheus.evaluate prints them. scikit-learn's way is its roc_auc_score and
average_precision_score of every class and of all labels together. Both give the same numbers, which is checked.
"""

import argparse
import sys

from benchmarks import common
from orpheus.base import cli


def parser() -> cli.Parser:
    result = common.parser("metrics", __doc__, example="--tracks 10000 --classes 50")
    result.add_argument("--tracks", type=int, default=50_000, metavar="N", help="tracks")
    result.add_argument("--classes", type=int, default=200, metavar="N", help="classes")
    result.add_argument("--repeats", type=int, default=2, help="rounds after one that does not count")
    return result


def measure(arguments: argparse.Namespace) -> list[common.Row]:
    """All rows of this benchmark."""
    import numpy as np

    from orpheus.learning.evaluation.areas import summarise

    targets, scores = made_up(arguments.tracks, arguments.classes)
    names = [f"class {index}" for index in range(arguments.classes)]

    def ours() -> list[float]:
        found = summarise(targets, scores, names)
        return [found[average][curve] for average in ("macro", "micro") for curve in ("roc_auc", "pr_auc")]

    np.testing.assert_allclose(ours(), by_scikit_learn(targets, scores), atol=1e-9)
    rates = common.interleaved(
        {
            "orpheus": common.Candidate(ours, 1, arguments.repeats),
            "scikit-learn": common.Candidate(lambda: by_scikit_learn(targets, scores), 1, arguments.repeats),
        }
    )
    before, peak = common.in_process(memory, arguments.tracks, arguments.classes)
    note = (
        f"peak {peak - before:,.0f} MB beyond labels and scores ({targets.nbytes / 1e6 + scores.nbytes / 1e6:,.0f} MB)"
    )
    case = f"{arguments.tracks:,} × {arguments.classes}"
    return common.compared("metrics", case, rates, unit="times/s", notes={"orpheus": note})


def made_up(tracks: int, classes: int, *, seed: int = 0):
    """(labels, scores): the k-th class has a share of positives proportional to 1/k, whose scores are a little higher."""
    import numpy as np

    rng = np.random.default_rng(seed)
    targets = rng.random((tracks, classes), np.float32) < 0.4 / np.arange(1, classes + 1)
    return targets, (rng.random((tracks, classes), np.float32) + 0.3 * targets).astype(np.float32)


def by_scikit_learn(targets, scores) -> list[float]:
    """Macro and micro areas: ROC, PR, ROC, PR."""
    import numpy as np
    from sklearn.metrics import average_precision_score, roc_auc_score

    usable = targets.any(axis=0) & ~targets.all(axis=0)
    areas = (roc_auc_score, average_precision_score)
    macro = [np.mean([area(targets[:, c], scores[:, c]) for c in np.flatnonzero(usable)]) for area in areas]
    return [*map(float, macro), *(float(area(targets.ravel(), scores.ravel())) for area in areas)]


def memory(tracks: int, classes: int) -> tuple[float, float]:
    """Megabytes of a fresh process before, and at the most while metrics are computed."""
    import resource

    from orpheus.learning.evaluation.areas import summarise

    targets, scores = made_up(tracks, classes)
    summarise(targets[:10], scores[:10], [str(c) for c in range(classes)])
    before = max(common.resident(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)
    summarise(targets, scores, [str(c) for c in range(classes)])
    return before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main(argv: list[str] | None = None) -> int:
    return common.main(parser(), measure, argv)


if __name__ == "__main__":
    sys.exit(main())
