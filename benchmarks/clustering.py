"""Clustering at the reference's scale: k-means of 7,669 tags.

    python -m benchmarks.clustering                 # 7,669 × 200, 100 clusters, 60 starts
    python -m benchmarks.clustering --starts 10     # quicker
    python -m benchmarks.clustering --parts         # what each part of the method saves, start by start

We and faiss take turns, --rounds times with another seed each; the others, which take long, run once.

The vectors are drawn around planted directions, seeded, so that anybody can repeat it. The reference's loop is re-enacted
from its description (random labels to start with, per-cluster NumPy distances, normalised means, at most 20 iterations);
it is run for --loop-starts starts, and its time for all starts is that multiplied, and marked so.

Figures are in docs/BENCHMARKS.md.
"""

import argparse
import sys
import time

from benchmarks import common
from benchmarks.common import Row
from orpheus.base import cli


def parser() -> cli.Parser:
    """The command's flags."""
    result = common.parser("clustering", __doc__.split("\n")[0], example="--starts 10")
    result.add_argument("--tags", type=int, default=7669, help="number of vectors")
    result.add_argument("--dimension", type=int, default=200, help="length of each")
    result.add_argument("--k", type=int, default=100, help="clusters")
    result.add_argument("--starts", type=int, default=60, help="initialisations of each method")
    result.add_argument(
        "--loop-starts", type=int, default=2, help="initialisations of the reference's loop that are run"
    )
    result.add_argument("--parts", action="store_true", help="only the cost of single starts by seeds and kind of step")
    result.add_argument("--rounds", type=int, default=3, help="rounds of orpheus and faiss")
    result.add_argument("--seed", type=int, default=0, help="of the vectors and the methods")
    return result


def vectors(tags: int, dimension: int, k: int, seed: int):
    """Unit vectors around twice as many directions as clusters, noisy enough that the clusters overlap."""
    import numpy as np

    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(2 * k, dimension))
    x = centres[rng.integers(2 * k, size=tags)] + 1.5 * rng.normal(size=(tags, dimension))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def loop(x, k: int, starts: int, seed: int):
    """The reference's method in plain NumPy: labels of the best start."""
    import numpy as np

    rng = np.random.default_rng(seed)
    best = None
    for _ in range(starts):
        labels = rng.integers(k, size=len(x))
        centroids = np.zeros((k, x.shape[1]))
        for _ in range(20):
            for cluster in np.unique(labels):
                mean = np.mean([row for row, label in zip(x, labels, strict=True) if label == cluster], axis=0)
                centroids[cluster] = mean / np.linalg.norm(mean)
            distances = np.stack([np.linalg.norm(x - centroid, axis=1) ** 2 for centroid in centroids])
            new = distances.argmin(axis=0)
            if (new == labels).all():
                break
            labels = new
        cost = distances.min(axis=0).sum()
        if best is None or cost < best[0]:
            best = cost, labels
    return best[1]


def measure(arguments: argparse.Namespace) -> list[Row]:
    """All rows of this benchmark."""
    import faiss
    from sklearn.cluster import KMeans

    from orpheus.semantics import clustering

    x = vectors(arguments.tags, arguments.dimension, arguments.k, arguments.seed)
    if arguments.parts:
        return parts(x, arguments.k, arguments.starts)
    starts, k, seed = arguments.starts, arguments.k, arguments.seed

    def with_faiss(number: int, **options):
        index = faiss.Kmeans(
            x.shape[1],
            k,
            spherical=True,
            nredo=starts,
            niter=50,
            seed=seed + number + 1,
            max_points_per_centroid=len(x),
            min_points_per_centroid=1,
            **options,
        )
        index.train(x)
        return index.index.search(x, 1)[1][:, 0]

    plus_plus = {"init_method": faiss.ClusteringInitMethod_KMEANS_PLUS_PLUS}
    methods = {
        "orpheus": lambda number: clustering.kmeans(x, k, n_init=starts, seed=seed + number).labels,
        "faiss, spherical": with_faiss,
        "faiss, spherical, k-means++": lambda number: with_faiss(number, **plus_plus),
        "scikit-learn KMeans": lambda number: KMeans(k, n_init=starts, random_state=seed).fit(x).labels_,
        "reference's loop": lambda number: loop(x, k, arguments.loop_starts, seed),
    }
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    costs: dict[str, list[float]] = {name: [] for name in methods}
    for number in range(arguments.rounds):
        for place, (name, method) in enumerate(methods.items()):
            if place < 3 or number == 0:
                took, labels = timed(lambda method=method, number=number: method(number))
                seconds[name].append(took)
                costs[name].append(clustering.cost_of(x, labels))
    notes = {name: f"cost {min(values):.1f} to {max(values):.1f}" for name, values in costs.items()}
    (looped,) = seconds["reference's loop"]
    notes["reference's loop"] += f" of the {arguments.loop_starts} starts that were run ({looped:.1f} s, multiplied)"
    seconds["reference's loop"] = [looped * starts / arguments.loop_starts]
    case = f"{len(x)} vectors of {x.shape[1]} dimensions, {k} clusters, {starts} starts"
    ours = seconds["orpheus"]
    return [
        Row(
            "clustering",
            case,
            name,
            tuple(values),
            "s",
            tuple(b / a for a, b in zip(ours, values, strict=False)) if name != "orpheus" else (),
            target=1.0 if name.startswith("faiss") else None,
            note=notes[name],
        )
        for name, values in seconds.items()
    ]


def parts(x, k: int, starts: int) -> list[Row]:
    """Cost of single starts: points drawn at random or greedy k-means++, Lloyd's steps or ours, single moves after."""
    import numpy as np

    from orpheus.semantics import clustering

    seeds, costs = clustering._Seeds(x, k, np.random.default_rng(0)), {}
    for number in range(starts):
        rng = np.random.default_rng(number)
        centroids = {"random points": x[rng.choice(len(x), k, replace=False)], "greedy k-means++": seeds.draw(rng)}
        for drawn, first in centroids.items():
            lloyd, ours = clustering._Start(x, first), clustering._Start(x, first)
            cost = np.inf
            while lloyd.cost < cost:
                cost = lloyd.cost
                lengths = np.linalg.norm(lloyd.sums, axis=1, keepdims=True)
                lloyd = clustering._Start(x, lloyd.sums / np.maximum(lengths, 1e-9))
            ours.descend(300)
            for steps, start in (("Lloyd's steps", lloyd), ("steps by gain", ours)):
                costs.setdefault(f"{drawn}, {steps}", []).append(start.cost)
                start.move_single()
                costs.setdefault(f"{drawn}, {steps}, single moves", []).append(start.cost)
    case = f"{starts} single starts"
    return [Row("clustering", case, name, tuple(values), "cost") for name, values in costs.items()]


def timed(function):
    """Seconds, and what it returned."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def main(argv: list[str] | None = None) -> int:
    return common.main(parser(), measure, argv)


if __name__ == "__main__":
    sys.exit(main())
