"""NPMI of tags on tracks: co-occurrence by one sparse product, against counting pairs in a loop and a dense product.

Tags per track and their popularity (1/rank) as listeners give them. The loop is the reference's way: pairs counted track by
track, the formula applied pair by pair. All give the same distances, which is checked.
"""

import argparse
import itertools
import math
import sys
from collections import Counter
from collections.abc import Sequence

from benchmarks import common
from orpheus.base import cli


def parser() -> cli.Parser:
    result = common.parser("npmi", __doc__, example="--tracks 500000 --tags 2000")
    result.add_argument("--tracks", type=int, default=50_000, metavar="N", help="tracks")
    result.add_argument("--tags", type=int, default=900, metavar="N", help="tags")
    result.add_argument("--per-track", type=int, default=8, metavar="N", help="tags drawn for a track")
    result.add_argument("--repeats", type=int, default=3, help="rounds after one that does not count")
    return result


def measure(arguments: argparse.Namespace) -> list[common.Row]:
    """All rows of this benchmark."""
    import numpy as np

    from orpheus.semantics import clustering, cooccurrence

    tracks = made_up(arguments.tracks, arguments.tags, arguments.per_track)

    def counted():
        return cooccurrence.tag_matrix(tracks)

    names = counted().tags

    def ours():
        matrix = counted()
        return cooccurrence.npmi_distances(cooccurrence.cooccurrence(matrix), matrix.tracks)

    def dense():
        matrix = counted().matrix.toarray().astype(np.float32)
        together = (matrix.T @ matrix).astype(np.int64)
        return cooccurrence.npmi_distances(together, len(tracks))

    def loop():
        return textbook(tracks, names)

    def clustered():
        distances = ours()
        return clustering.choose_k(distances, clustering.agglomerative(distances, range(5, 21)))

    ways = {"orpheus": ours, "dense product (NumPy)": dense, "loop over pairs, the reference's way": loop}
    expected = np.asarray(loop())
    for name, way in ways.items():
        np.testing.assert_allclose(way(), expected, atol=1e-9, err_msg=name)
    case = f"{len(names):,} tags on {len(tracks):,} tracks"
    candidates = {name: common.Candidate(way, 1, arguments.repeats) for name, way in ways.items()}
    candidates["orpheus, with linkage and 16 silhouettes"] = common.Candidate(clustered, 1, arguments.repeats)
    targets = {"loop over pairs, the reference's way": 20.0}
    return common.compared("npmi", case, common.interleaved(candidates), unit="times/s", targets=targets)


def made_up(tracks: int, tags: int, per_track: int, *, seed: int = 0) -> list[list[str]]:
    """Lists of different tags, the k-th tag with a probability proportional to 1/k."""
    import numpy as np

    rng = np.random.default_rng(seed)
    popularity = 1 / np.arange(1, tags + 1)
    drawn = rng.choice(tags, size=(tracks, per_track), p=popularity / popularity.sum())
    return [[f"t{tag}" for tag in sorted(set(row))] for row in drawn.tolist()]


def textbook(tracks: Sequence[Sequence[str]], names: Sequence[str]) -> list[list[float]]:
    """1 − NPMI as the formula is written, one pair after the other."""
    own: Counter[str] = Counter()
    together: Counter[tuple[str, str]] = Counter()
    for tags in tracks:
        own.update(tags)
        together.update(itertools.combinations(sorted(tags), 2))
    total = len(tracks)

    def distance(a: str, b: str) -> float:
        if a == b:
            return 0.0
        both = together[(a, b) if a < b else (b, a)] / total
        if not both:
            return 2.0
        return 1 - math.log(both / (own[a] / total * own[b] / total)) / -math.log(both)

    return [[distance(a, b) for b in names] for a in names]


def main(argv: list[str] | None = None) -> int:
    return common.main(parser(), measure, argv)


if __name__ == "__main__":
    sys.exit(main())
