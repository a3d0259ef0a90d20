"""NPMI (Model 4.1) against skip-gram (Model 4.2) clusters of genres, evaluated on artists that neither has seen.

    python -m benchmarks.genres --tags ../shared/data/mtg-jamendo/autotagging_{genre,instrument,moodtheme}-*.tsv

For each seed: 70 % of the artists are drawn, clusters are made of their tracks, and the tracks of the others say how well
tags of one cluster belong together. `docs/GENRES.md` holds the table and what it means.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orpheus.base import cli
from orpheus.errors import ConfigError, DataError

DATA = Path("../shared/data/mtg-jamendo")
CATEGORY = "genre---"


def parser() -> cli.Parser:
    """The command's flags."""
    result = cli.parser(
        "benchmarks.genres", __doc__.split("\n")[0], example="python -m benchmarks.genres --seeds 0 1 2"
    )
    result.add_argument(
        "--tags",
        type=Path,
        nargs="+",
        metavar="TSV",
        help=f"tag files of MTG-Jamendo; by default genre, instrument and mood/theme in {DATA}",
    )
    result.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the split and of what is random")
    result.add_argument("--train", type=float, default=0.7, metavar="P", help="part of the artists that clusters see")
    result.add_argument("--wide", type=int, default=8, metavar="K", help="wide clusters that are divided; 0 for none")
    result.add_argument("--fixed", type=int, nargs="*", default=[10, 20], metavar="K", help="also at these numbers")
    result.add_argument("--draws", type=int, default=100, metavar="N", help="random partitions per clustering")
    result.add_argument("--epochs", type=int, default=100, help="of skip-gram, at most")
    return result


@dataclass
class Genre:
    """One group of tags that is divided: its labels, singletons each for itself, and all its tags' held-out counts."""

    labels: dict[str, int]
    tags: Sequence[str]


@dataclass
class Heldout:
    """Tags of the held-out tracks, and of the held-out artists."""

    tracks: Any
    artists: Any
    counts: dict[str, int] = field(init=False)

    def __post_init__(self):
        self.counts = dict(zip(self.tracks.tags, map(int, self.tracks.counts()), strict=True))


def body(arguments: argparse.Namespace) -> None:
    """Run every seed, print one table per setting."""
    from orpheus.data.tags.files import TagFile

    if not 0 < arguments.train < 1 or not arguments.seeds or arguments.draws < 1:
        raise ConfigError(f"--train {arguments.train} --draws {arguments.draws}: expected 0 < P < 1 and N ≥ 1")
    paths = arguments.tags or sorted(DATA.glob("autotagging_[gim]*.tsv"))
    if not paths:
        raise DataError(f"{DATA}: no autotagging_*.tsv; give --tags")
    source = TagFile(paths, prefix=True)
    start = time.perf_counter()
    rows: dict[str, dict[tuple[str, str], list[dict[str, float]]]] = {}
    named: dict[str, list[dict[str, int]]] = {}
    for seed in cli.progress(arguments.seeds, desc="Seeds", unit=" seeds"):
        train, heldout = split(source.tracks, share=arguments.train, seed=seed)
        groups = {"genre tags": [[tag for tag in train.tags if tag.startswith(CATEGORY)]]}
        if arguments.wide:
            groups[f"{arguments.wide} wide clusters"] = wide_clusters(train, arguments.wide, seed=seed)
        for setting, lists in groups.items():
            ks = [None, *(arguments.fixed if len(lists) == 1 else [])]
            for (method, k), genres in cluster(lists, train, ks=ks, epochs=arguments.epochs, seed=seed).items():
                key = (method, str(k or "chosen"))
                table = rows.setdefault(setting, {})
                table.setdefault(key, []).append(measure(genres, heldout))
                drawn = [measure(shuffled(genres, (seed, draw)), heldout) for draw in range(arguments.draws)]
                mean = {name: sum(each[name] for each in drawn) / len(drawn) for name in drawn[0]}
                table.setdefault((f"random, sizes of {method}", key[1]), []).append(mean)
                if len(lists) == 1:
                    named.setdefault(f"{method}, k {key[1]}", []).append(genres[0].labels)
        print(f"seed {seed}: {train.tracks} tracks to cluster, {heldout.tracks.tracks} held out")
    for setting, table in rows.items():
        show(setting, table)
    print("\nagreement of the seeds (adjusted Rand index of genre tags, mean over pairs of seeds)")
    for name, labellings in named.items():
        print(f"  {name:24} {agreement(labellings)}")
    print(f"{time.perf_counter() - start:.0f} s")


def split(tracks, *, share: float, seed: int):
    """Tag matrix of the training artists' tracks, and `Heldout` of the others'; same columns."""
    import numpy as np

    from orpheus.semantics.cooccurrence import tag_matrix

    artists = sorted({track.artist for track in tracks.values()})
    order = np.random.default_rng(seed).permutation(len(artists))
    seen = {artists[index] for index in order[: round(share * len(artists))]}
    train = tag_matrix(track.tags for track in tracks.values() if track.artist in seen)
    others = [track for track in tracks.values() if track.artist not in seen]
    united: dict[str, set[str]] = {}
    for track in others:
        united.setdefault(track.artist, set()).update(track.tags)
    return train, Heldout(
        tag_matrix((track.tags for track in others), tags=train.tags),
        tag_matrix((sorted(tags) for tags in united.values()), tags=train.tags),
    )


def wide_clusters(train, k: int, *, seed: int) -> list[list[str]]:
    """Tags of all categories in wide clusters, as dictionaries/README.md makes them: word2vec, then k-means."""
    from orpheus.semantics import clustering
    from tools import train_word_vectors

    lists = [[train.tags[column] for column in row.indices] for row in train.matrix]
    names, vectors = train_word_vectors.train(
        lists, dimension=50, epochs=10, min_count=1, window=max(map(len, lists)), seed=seed, sample=0
    )
    labels = clustering.kmeans(vectors, k, n_init=20, seed=seed).labels
    return [[name for name, label in zip(names, labels, strict=True) if label == cluster] for cluster in range(k)]


def cluster(
    lists: Sequence[Sequence[str]], train, *, ks: Sequence[int | None], epochs: int, seed: int
) -> dict[tuple[str, int | None], list[Genre]]:
    """(method, k) → the genres divided by it; k None for 5 to 20 by silhouette."""
    from orpheus.semantics import skipgram, subgenres

    found: dict[tuple[str, int | None], list[Genre]] = {}
    for tags in lists:
        genre = subgenres.members(tags, train)
        if genre is None or len(genre.tracks.tags) < 2:
            continue
        vectors = skipgram.embed(genre.tracks, epochs=epochs, seed=seed).vectors
        methods: dict[str, Callable] = {
            "NPMI": lambda k_range, genre=genre: subgenres.by_npmi(genre, k_range=k_range),
            "skip-gram": lambda k_range, genre=genre, vectors=vectors: subgenres.by_vectors(
                genre, vectors, k_range=k_range, n_init=20, seed=seed
            ),
        }
        for method, make in methods.items():
            for k in ks:
                part = make((k, k) if k else subgenres.K_RANGE)
                alone = {tag: -1 - number for number, tag in enumerate(part.singletons)}
                found.setdefault((method, k), []).append(Genre({**part.labels, **alone}, tags))
    return found


def shuffled(genres: Sequence[Genre], seed: Sequence[int]) -> list[Genre]:
    """The same sizes with tags assigned at random."""
    import numpy as np

    rng = np.random.default_rng(seed)
    return [
        Genre(dict(zip(genre.labels, rng.permutation(list(genre.labels.values())).tolist(), strict=True)), genre.tags)
        for genre in genres
    ]


def measure(genres: Sequence[Genre], heldout: Heldout) -> dict[str, float]:
    """Measures over all pairs of tags of the same genre. Tags without a held-out track are left out of the pairs."""
    import numpy as np
    from sklearn.metrics import roc_auc_score

    from orpheus.semantics import clustering
    from orpheus.semantics.cooccurrence import cooccurrence, npmi

    pairs: dict[str, list] = {"same": [], "tracks": [], "artists": []}
    silhouettes, weights, clusters = [], [], 0
    kept_counts = all_counts = kept_tags = 0
    for genre in genres:
        labels_of = [label for label in genre.labels.values() if label >= 0]
        clusters += len(set(labels_of))
        kept_tags += len(labels_of)
        kept_counts += sum(heldout.counts[tag] for tag, label in genre.labels.items() if label >= 0)
        all_counts += sum(heldout.counts[tag] for tag in genre.tags)
        tags = [tag for tag in genre.labels if heldout.counts[tag]]
        labels = np.array([genre.labels[tag] for tag in tags])
        upper = np.triu_indices(len(tags), 1)
        pairs["same"].append((labels[:, None] == labels)[upper])
        for of in ("tracks", "artists"):
            part = getattr(heldout, of).columns(tags)
            values = npmi(cooccurrence(part), part.tracks)
            pairs[of].append(values[upper])
            if of == "tracks":
                distances = np.clip(1 - (values + values.T) / 2, 0, None)
                np.fill_diagonal(distances, 0)
                silhouettes.append(clustering.silhouette(distances, labels))
                weights.append(len(tags))
    same, tracks, artists = (np.concatenate(pairs[name]) for name in ("same", "tracks", "artists"))
    return {
        "clusters": clusters,
        "tags %": 100 * kept_tags / sum(len(genre.tags) for genre in genres),
        "counts %": 100 * kept_counts / all_counts,
        "within": float(tracks[same].mean()),
        "between": float(tracks[~same].mean()),
        "AUC": float(roc_auc_score(same, tracks)),
        "AUC artists": float(roc_auc_score(same, artists)),
        "silhouette": float(np.average(silhouettes, weights=weights)),
    }


def agreement(labellings: Sequence[dict[str, int]]) -> str:
    """Mean adjusted Rand index between labellings, over the tags that both have."""
    from itertools import combinations

    from sklearn.metrics import adjusted_rand_score

    scores = []
    for one, other in combinations(labellings, 2):
        tags = sorted(one.keys() & other.keys())
        scores.append(adjusted_rand_score([one[tag] for tag in tags], [other[tag] for tag in tags]))
    return f"{sum(scores) / len(scores):.3f}" if scores else "(one seed)"


def show(setting: str, table: dict[tuple[str, str], list[dict[str, float]]]) -> None:
    """Mean ± standard deviation over the seeds, as a Markdown table."""
    import numpy as np

    names = list(next(iter(table.values()))[0])
    print(f"\n{setting}\n| clusters by | k | {' | '.join(names)} |\n|{'---|' * (len(names) + 2)}")
    for (method, k), runs in table.items():
        cells = []
        for name in names:
            values = [run[name] for run in runs]
            digits = 1 if name in ("clusters", "tags %", "counts %") else 3
            deviation = np.std(values, ddof=1) if len(values) > 1 else 0.0
            cells.append(f"{np.mean(values):.{digits}f} ± {deviation:.{digits}f}")
        print(f"| {method} | {k} | {' | '.join(cells)} |")


def main(argv=None) -> int:
    """Run the benchmark."""
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
