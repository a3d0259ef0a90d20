"""MAP, P@k and nDCG of recommendation lists: this package's blocks against the textbook loop, and their agreement.

Both rank the same random factors; the loop sorts every user's items and walks through the first k, as the formulas are
written. They take turns; the loop gets the first users only. Larger sizes show that memory stays bounded.
"""

import argparse
import math
import resource
import sys

from benchmarks import common
from orpheus.base import cli

TARGET = 50.0  # times as fast as the loop


def parser() -> cli.Parser:
    result = common.parser("ranking", __doc__, example="--users 100000 --items 50000")
    result.add_argument("--users", type=int, default=2000, metavar="N", help="users")
    result.add_argument("--items", type=int, default=50_000, metavar="N", help="items")
    result.add_argument("--heard", type=int, default=20, metavar="N", help="held-out items of each user")
    result.add_argument("--loop-users", type=int, default=20, metavar="N", help="users of the loop")
    result.add_argument("--rounds", type=int, default=3, metavar="N", help="after one that does not count")
    result.add_argument("-k", type=int, default=500, metavar="K", help="length of the lists")
    return result


def measure(arguments: argparse.Namespace) -> list[common.Row]:
    """All rows of this benchmark."""
    import numpy as np
    import scipy.sparse

    from orpheus.learning.evaluation import lists

    rng = np.random.default_rng(0)
    users, items = (rng.normal(size=(n, 64)).astype(np.float32) for n in (arguments.users, arguments.items))
    columns = rng.integers(0, len(items), len(users) * arguments.heard)
    ends = np.arange(0, len(columns) + 1, arguments.heard)
    heard = scipy.sparse.csr_matrix((np.ones(len(columns), np.float32), columns, ends), shape=(len(users), len(items)))
    k, few = arguments.k, min(arguments.loop_users, len(users))

    def ours():
        return lists.evaluate_factors(users, items, heard, k=k, cutoffs=(10,), roc=False)

    def loop():
        return textbook(users[:few], items, [set(heard[row].indices.tolist()) for row in range(few)], k)

    per_user = ours()["per_user"]
    for name, values in loop().items():
        difference = float(np.abs(per_user[name][:few] - values).max())
        if difference > 1e-9:
            raise AssertionError(f"{name}: the loop differs by {difference}")
    rates = common.interleaved(
        {
            "orpheus": common.Candidate(ours, len(users), arguments.rounds),
            "textbook loop": common.Candidate(loop, few, arguments.rounds),
        }
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    case = f"{len(users):,} users × {len(items):,} items, k={k}"
    return common.compared(
        "ranking",
        case,
        rates,
        unit="users/s",
        targets={"textbook loop": TARGET},
        notes={"orpheus": f"peak of the process {peak:.1f} GB"},
    )


def textbook(users, items, relevant: list[set[int]], k: int) -> dict[str, list[float]]:
    """The formulas as they are written, one user and one place after the other."""
    result: dict[str, list[float]] = {f"MAP@{k}": [], "P@10": [], "nDCG@10": []}
    for user, wanted in zip(users, relevant, strict=True):
        scores = (items @ user).tolist()
        ranked = sorted(range(len(scores)), key=lambda item: -scores[item])[:k]
        hits, total, first, gain = 0, 0.0, 0, 0.0
        for place, item in enumerate(ranked, 1):
            if item in wanted:
                hits += 1
                total += hits / place
                if place <= 10:
                    first += 1
                    gain += 1 / math.log2(place + 1)
        ideal = sum(1 / math.log2(place + 1) for place in range(1, min(len(wanted), 10) + 1))
        result[f"MAP@{k}"].append(total / min(len(wanted), k))
        result["P@10"].append(first / 10)
        result["nDCG@10"].append(gain / ideal)
    return result


def main(argv: list[str] | None = None) -> int:
    return common.main(parser(), measure, argv)


if __name__ == "__main__":
    sys.exit(main())
