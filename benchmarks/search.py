"""Search among a million songs: time of a query on one core, and recall@10, both against comparing with every song.

The songs are made up: 256-dimensional unit vectors around 4,000 centres of very different sizes, spread over 32 dimensions
with a little noise in all 256, as embeddings that were learned lie; not uniform noise, in which nothing is near to anything
(--kinds uniform is that worst case: so many lists must be searched there that little is gained). Two kinds of queries: like
songs that are not in the index, and like tags, which lie off the songs' directions; the latter among parts of the songs, too,
as filters leave them. Building uses all cores, a search one.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import common
from orpheus.base import cli

if TYPE_CHECKING:
    import numpy as np

MILLISECONDS, RECALL = 10.0, 0.95  # a query at most, at least
DIMENSION, CENTRES, SPREAD, K = 256, 4000, 32, 10
PARTS = (0.001, 0.05, 0.5)  # of the songs, that a filter leaves


def parser() -> cli.Parser:
    result = common.parser("search", __doc__, example="--songs 200000 --kinds clustered uniform")
    result.add_argument("--songs", type=int, default=1_000_000, metavar="N", help="in the index")
    result.add_argument(
        "--kinds", nargs="+", choices=("clustered", "uniform"), default=["clustered"], help="of vectors"
    )
    result.add_argument("--queries", type=int, default=500, metavar="N", help="of each kind and round")
    result.add_argument("--exact-queries", type=int, default=10, metavar="N", help="of the exact search, per round")
    result.add_argument("--rounds", type=int, default=5, metavar="N", help="after one that does not count")
    result.add_argument("--seed", type=int, default=0, help="of the vectors")
    return result


def measure(arguments: argparse.Namespace) -> list[common.Row]:
    rows: list[common.Row] = []
    for kind in arguments.kinds:
        rows += _measure(kind, arguments)
    return rows


def _measure(kind: str, arguments: argparse.Namespace) -> list[common.Row]:
    import faiss
    import numpy as np

    from orpheus.learning.vectors.nearest import Nearest

    songs, queries = made_up(kind, arguments.songs, arguments.queries, seed=arguments.seed)
    wanted = {name: exact(songs, rows, K) for name, rows in queries.items()}
    index = Nearest(DIMENSION)
    began = time.perf_counter()
    index.add(np.arange(len(songs)), songs, queries=made_up(kind, 0, 256, seed=arguments.seed + 1)[1].get("tags"))
    built = time.perf_counter() - began
    with tempfile.TemporaryDirectory() as folder:
        index.save(Path(folder) / "index")
        size = (Path(folder) / "index").stat().st_size / 1e9
    filtered = queries[list(queries)[-1]][: arguments.exact_queries]
    parts = [_part(songs, share, filtered, seed=arguments.seed) for share in PARTS]
    everything = faiss.IndexFlatIP(DIMENSION)
    everything.add(songs)
    del songs
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        rows = []
        for name, asked in queries.items():
            began = time.process_time()
            milliseconds, found = alone(index, asked)
            spent = 1000 * (time.process_time() - began) / len(asked)
            shares = [len(set(a) & set(b)) / K for a, b in zip(found.tolist(), wanted[name].tolist(), strict=True)]
            few = asked[: arguments.exact_queries]
            rates = common.interleaved(
                {
                    "orpheus": common.Candidate(lambda q=asked: alone(index, q), len(asked), arguments.rounds),
                    "exact search": common.Candidate(
                        lambda q=few: [everything.search(one[None], K) for one in q], len(few), arguments.rounds
                    ),
                }
            )
            slow, recall = float(np.quantile(milliseconds, 0.99)), float(np.mean(shares))
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
            note = (
                f"recall@{K} {recall:.3f} (≥ {RECALL} {_met(recall >= RECALL)}); a query "
                f"{np.median(milliseconds):.2f} ms ({spent:.2f} ms of processor time), 99 % within {slow:.2f} ms (< {MILLISECONDS:g} ms "
                f"{_met(slow < MILLISECONDS)}); {index.probes} of {index.lists} lists searched, built in {built:.0f} s on "
                f"{threads} threads, {size:.2f} GB; peak of the process {peak:.1f} GB"
            )
            case = f"{len(index):,} songs, {kind}, queries like {name}"
            rows += common.compared("search", case, rates, unit="queries/s", notes={"orpheus": note})
        for only, least in parts:
            began = time.process_time()
            milliseconds, _ = alone(index, filtered, only)
            spent = 1000 * (time.process_time() - began) / len(filtered)
            step = common.Candidate(lambda o=only: alone(index, filtered, o), len(filtered), arguments.rounds)
            found = float((index.search(filtered, K, only=only)[1] >= least[:, None] - 1e-6).mean())
            note = (
                f"recall@{K} {found:.3f} (≥ {RECALL} {_met(found >= RECALL)}); a query {np.median(milliseconds):.2f} ms "
                f"({spent:.2f} ms of processor time)"
            )
            case = f"{len(only):,} of {len(index):,} songs, as a filter leaves, {kind}"
            rates = common.interleaved({"orpheus": step})
            rows += common.compared("search", case, rates, unit="queries/s", notes={"orpheus": note})
    finally:
        faiss.omp_set_num_threads(threads)
    return rows


def _part(songs: "np.ndarray", share: float, asked: "np.ndarray", *, seed: int) -> "tuple[np.ndarray, np.ndarray]":
    """Numbers of a drawn part of the songs, rising, and per query the score of the last of its nearest ones, by NumPy."""
    import numpy as np

    draw = np.random.default_rng([seed, 11])
    only = np.sort(draw.choice(len(songs), max(K, round(share * len(songs))), replace=False))
    scores = asked @ songs[only].T
    return only, np.partition(scores, -K, axis=1)[:, -K]


def made_up(kind: str, songs: int, queries: int, *, seed: int) -> "tuple[np.ndarray, dict[str, np.ndarray]]":
    """(songs, 256) float32 unit vectors, and queries by kind; other seeds give others around the same centres."""
    import numpy as np

    rng = np.random.default_rng([seed, 7])
    if kind == "uniform":
        return unit(rng.standard_normal((songs, DIMENSION), np.float32)), {
            "songs": unit(rng.standard_normal((queries, DIMENSION), np.float32))
        }
    same = np.random.default_rng(0)
    axes = np.linalg.qr(same.standard_normal((DIMENSION, SPREAD)))[0].T.astype(np.float32)
    centres = same.standard_normal((CENTRES, SPREAD), np.float32)
    shares = 1 / np.arange(1, CENTRES + 1) ** 0.7  # the first centre has some 300 times as many songs as the last
    shares /= shares.sum()

    def around(count: int) -> np.ndarray:
        result = np.empty((count, DIMENSION), np.float32)
        for start in range(0, count, 100_000):  # bounded memory
            some = min(100_000, count - start)
            within = centres[rng.choice(CENTRES, some, p=shares)] + 0.5 * rng.standard_normal(
                (some, SPREAD), np.float32
            )
            noise = 0.035 * rng.standard_normal((some, DIMENSION), np.float32)
            result[start : start + some] = unit(within @ axes + noise)
        return result

    found = around(songs)
    meant = unit(centres[rng.choice(CENTRES, queries)] @ axes)
    off = unit(rng.standard_normal((queries, DIMENSION), np.float32))
    return found, {"songs": around(queries), "tags": unit(meant + 0.7 * off)}


def unit(rows: "np.ndarray") -> "np.ndarray":
    import numpy as np

    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def exact(songs: "np.ndarray", queries: "np.ndarray", k: int) -> "np.ndarray":
    """(queries, k) numbers of the songs with the largest inner products, by NumPy."""
    import numpy as np

    best = np.zeros((len(queries), 0), np.int64)
    for start in range(0, len(songs), 1 << 17):
        block = np.arange(start, min(start + (1 << 17), len(songs)))
        candidates = np.concatenate([best, np.broadcast_to(block, (len(queries), len(block)))], axis=1)
        scores = np.concatenate(
            [np.einsum("qkd,qd->qk", songs[best], queries), queries @ songs[block[0] : block[-1] + 1].T], axis=1
        )
        kept = np.argpartition(-scores, min(k, scores.shape[1]) - 1, axis=1)[:, :k]
        best = np.take_along_axis(candidates, kept, axis=1)
    return best


def alone(index, queries: "np.ndarray", only: "np.ndarray | None" = None) -> "tuple[np.ndarray, np.ndarray]":
    """Milliseconds and numbers found of each query, asked one after the other, of all songs or `only` some."""
    import numpy as np

    milliseconds, found = [], []
    for one in queries:
        began = time.perf_counter()
        found.append(index.search(one[None], K, only=only)[0][0])
        milliseconds.append(1000 * (time.perf_counter() - began))
    return np.array(milliseconds), np.array(found)


def _met(good: bool) -> str:
    return "met" if good else "MISSED"


def main(argv: list[str] | None = None) -> int:
    return common.main(parser(), measure, argv)


if __name__ == "__main__":
    sys.exit(main())
