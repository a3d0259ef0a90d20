"""Make dictionaries of clusters: k-means of word vectors, NPMI, or skip-gram vectors."""

import argparse
import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from orpheus.base import cli
from orpheus.errors import ConfigError, DataError
from tools import _tracks

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Method:
    """A way to make a dictionary: what --help says of it, what adds its flags, and what makes and writes it."""

    help: str
    flags: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int | None]


def parser() -> cli.Parser:
    """The command's flags."""
    result = cli.parser(
        "tools.cluster_tags",
        "Group tags into clusters and write a dictionary of them (JSON). kmeans: by their word vectors. npmi and "
        "skip-gram: the tags of each genre cluster of a dictionary, by which tags meet on tracks.",
        example="python -m tools.cluster_tags kmeans --tags lastfm_tags.db --embedding glove glove.6B.200d.txt "
        "--threshold 100 500 --n-clusters 100 500",
    )
    chosen = f"{{{','.join(METHODS)}}}"
    methods = result.add_subparsers(dest="method", required=True, metavar=chosen, parser_class=cli.SubParser)
    for name, method in METHODS.items():
        method.flags(methods.add_parser(name, help=method.help))
    return result


def body(arguments: argparse.Namespace) -> int | None:
    """Run the chosen method."""
    return METHODS[arguments.method].run(arguments)


def _kmeans_flags(kmeans: argparse.ArgumentParser) -> None:
    _tracks.add_source(kmeans.add_argument_group("tags of tracks"))
    how = kmeans.add_argument_group("clusters")
    kept = kmeans.add_argument_group("which clusters are kept")
    how.add_argument("--embedding", nargs=2, required=True, metavar=("glove|word2vec|hub", "PATH"), help="word vectors")
    how.add_argument("--name", help="folder of the embedding under --out; by default its kind")
    how.add_argument(
        "--threshold", type=int, nargs="+", default=[100], metavar="N", help="number of tracks that a tag must exceed"
    )
    how.add_argument(
        "--n-clusters", type=int, nargs="+", default=[100], metavar="K", help="numbers of clusters before the filter"
    )
    kept.add_argument("--no-filter", action="store_true", help="keep clusters without one of the filtered tags too")
    kept.add_argument(
        "--filter-path",
        type=Path,
        default=Path("dictionaries"),
        metavar="DIR",
        help="folder that holds tags_remove.txt, the tags that the filter does not accept",
    )
    kept.add_argument(
        "--top",
        type=int,
        default=100,
        metavar="N",
        help="number of the most popular tags that the filter accepts, less tags_remove.txt",
    )
    kept.add_argument(
        "--keep-tags", type=Path, metavar="FILE", help="file of the tags that the filter accepts, one per line"
    )
    kmeans.add_argument(
        "--out",
        type=Path,
        default=Path("dictionaries"),
        metavar="DIR",
        help="folder to write DIR/NAME/THRESHOLD_models/tags_dict_K.json to",
    )
    _start_flags(kmeans)


def _npmi_flags(npmi: argparse.ArgumentParser) -> None:
    npmi.add_argument(
        "--linkage",
        choices=("average", "complete", "single"),
        default="average",
        help="linkage: distance of two clusters",
    )
    _subgenre_flags(npmi)


def _skip_gram_flags(skip: argparse.ArgumentParser) -> None:
    trained = skip.add_argument_group("vectors")
    trained.add_argument("--epochs", type=int, default=100, help="most epochs; training stops early")
    trained.add_argument("--patience", type=int, default=5, help="epochs without a better validation loss")
    trained.add_argument("--batch-size", type=int, default=256, help="samples per step")
    trained.add_argument("--learning-rate", type=float, default=1e-2, help="learning rate of Adam")
    _subgenre_flags(skip)
    _start_flags(skip)


def _subgenre_flags(sub: argparse.ArgumentParser) -> None:
    _tracks.add_source(sub.add_argument_group("tags of tracks"))
    sub.add_argument(
        "--dictionary", type=Path, required=True, metavar="JSON", help="dictionary that holds the genres' clusters"
    )
    sub.add_argument(
        "--genre-path",
        type=Path,
        metavar="DIR",
        help="folder of genres.txt; without it every cluster counts as a genre",
    )
    sub.add_argument(
        "--merge-outside", action="store_true", help="merge pairs of genres.txt of which only one is a genre, too"
    )
    sub.add_argument("--min-clusters", type=int, default=5, metavar="K", help="fewest clusters of a genre")
    sub.add_argument("--max-clusters", type=int, default=20, metavar="K", help="most clusters of a genre")
    sub.add_argument(
        "--scale-k",
        action="store_true",
        help="both at most a quarter and half of a genre's tags, so that small genres are not broken into single tags",
    )
    sub.add_argument(
        "--out",
        type=cli.output_file(),
        metavar="JSON",
        help="dictionary to write; by default dictionaries/METHOD/tags_dict.json",
    )


def _start_flags(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--n-init", type=int, default=60, metavar="N", help="number of starts of k-means")
    sub.add_argument("--seed", type=int, default=0, help="seed of the clusters")


def _kmeans(arguments: argparse.Namespace) -> int:
    from orpheus.semantics import words

    kind, path = arguments.embedding
    tracks, data = _tracks.read(arguments)
    counts = _tracks.popularity(tracks)
    keep = None if arguments.no_filter else filtered_tags(arguments, counts)
    candidates = [tag for tag, count in counts.items() if count > min(arguments.threshold)]
    if not candidates:
        raise DataError(
            f"--threshold {min(arguments.threshold)}: no tag has more tracks; the most frequent has {max(counts.values())}"
        )
    vectors = words.load(path, kind=kind, words=words.needed_words(candidates), progress=cli.progress)
    grid = [(threshold, k) for threshold in arguments.threshold for k in arguments.n_clusters]
    impossible: list[tuple[Path, Exception]] = []
    for threshold, k in cli.progress(grid, desc="Dictionaries", unit=" dictionaries"):
        name = arguments.out / (arguments.name or kind) / f"{threshold}_models" / f"tags_dict_{k}.json"
        try:
            print(_one_kmeans(arguments, name, threshold, k, (candidates, counts, vectors), keep, data))
        except (ConfigError, DataError) as error:  # the others of the grid may be possible
            impossible.append((name, error))
    if len(impossible) == len(grid):
        raise impossible[0][1]
    for name, reason in impossible:
        print(f"{name}: not made; {reason}")
    return cli.EXIT_PARTIAL if impossible else cli.EXIT_OK


def _one_kmeans(arguments: argparse.Namespace, name: Path, threshold: int, k: int, source, keep, data: dict) -> str:
    """Make and write one dictionary of the grid; returns a sentence about it."""
    from orpheus.semantics import clustering, dictionary, words

    candidates, counts, vectors = source
    tags, matrix, missing = words.vectors_of_tags([t for t in candidates if counts[t] > threshold], vectors)
    if not tags:
        raise DataError(f"{vectors.source}: knows no tag of more than {threshold} tracks")
    found = clustering.kmeans(matrix, k, n_init=arguments.n_init, seed=arguments.seed, progress=cli.progress)
    parameters = {
        "n_clusters": k,
        "threshold": threshold,
        "n_init": arguments.n_init,
        "filtered": keep is not None,
        "tags_without_vector": len(missing),
    }
    made = dictionary.provenance(
        "kmeans",
        parameters=parameters,
        data=data,
        seed=arguments.seed,
        embedding={"kind": arguments.embedding[0], "name": vectors.source, "sha256": vectors.sha256},
    )
    labels = {tag: int(label) for tag, label in zip(tags, found.labels, strict=True)}
    whole = dictionary.Dictionary(labels, {t: counts[t] for t in tags}, made, {"cost": round(found.cost, 4)})
    kept = whole if keep is None else whole.keep_clusters_with(keep)
    kept.save(name)
    logger.debug("without a vector: %s", ", ".join(missing))
    return (
        f"{name}: {len(kept.tag_to_cluster)} tags in {len(kept.clusters)} clusters "
        f"(of {len(tags)} in {k}, cost {found.cost:.1f}; {len(missing)} tags without a vector); "
        f"{_annotations(kept, counts)}"
    )


def _annotations(kept, counts: Mapping[str, int]) -> str:
    """How many of the annotations (a tag on a track) a dictionary has, and what is lost with the other tags."""
    total, there = sum(counts.values()), sum(counts.get(tag, 0) for tag in kept.tag_to_cluster)
    return f"{there:,} of {total:,} annotations ({100 * there / max(total, 1):.1f} %), {total - there:,} lost"


def filtered_tags(arguments: argparse.Namespace, counts: dict[str, int]) -> list[str]:
    """The tags that a cluster must hold one of: --keep-tags, or the most popular less those of tags_remove.txt.

    Case does not matter for the removal: Last.fm has `Awesome`, a cleaned database `awesome`.
    """
    from orpheus.data.tags.targets import read_filter

    if arguments.keep_tags:
        return read_filter(arguments.keep_tags)
    removed = {tag.lower() for tag in read_filter(arguments.filter_path)}
    return [tag for tag in list(counts)[: arguments.top] if tag.lower() not in removed]


def _subgenres(arguments: argparse.Namespace) -> None:
    from orpheus.base.files import content_hash
    from orpheus.semantics import cooccurrence, dictionary, genres, subgenres

    base = dictionary.load(arguments.dictionary)
    source = {"name": arguments.dictionary.name, "sha256": content_hash(dictionary.find(arguments.dictionary))}
    if arguments.genre_path:
        chosen = genres.read(arguments.genre_path)
        base = base.restrict(chosen.genres, chosen.merge, merge_outside=arguments.merge_outside, source=chosen.source)
    tracks, data = _tracks.read(arguments)
    matrix = cooccurrence.tag_matrix(tracks.values())
    groups = [subgenres.members(tags, matrix) for tags in base.clusters.values()]
    present = [group for group in groups if group is not None]
    if not present:
        raise DataError(
            f"{arguments.dictionary}: none of its {len(base.tag_to_cluster)} tags is on a track of {data['name']}"
        )
    k_range = (arguments.min_clusters, arguments.max_clusters)
    parts = []
    for group in cli.progress(present, desc="Genres", unit=" genres"):
        if arguments.method == "npmi":
            part = subgenres.by_npmi(group, linkage=arguments.linkage, k_range=k_range, scaled=arguments.scale_k)
        else:
            part = _by_skip_gram(group, arguments, k_range)
        parts.append(part)
        best = f"silhouette {part.scores[part.k]:.3f}" if part.k else "too few tags to choose"
        print(f"{part.genre}: {len(part.labels)} tags in {len(set(part.labels.values()))} clusters, {best}")
    parameters = {"k": list(k_range), "scaled": arguments.scale_k, "genres": base.made.get("restricted")}
    if arguments.method == "npmi":
        parameters["linkage"] = arguments.linkage
    else:
        names = ("epochs", "patience", "batch_size", "learning_rate", "n_init")
        parameters |= {name: getattr(arguments, name) for name in names}
    made = dictionary.provenance(
        arguments.method,
        parameters={**parameters, "dictionary": source},
        data=data,
        seed=getattr(arguments, "seed", None),
    )
    result = subgenres.joined(parts, made=made)
    out = arguments.out or Path("dictionaries") / arguments.method / "tags_dict.json"
    result.save(out)
    counts = dict(zip(matrix.tags, map(int, matrix.counts()), strict=True))
    divided = {tag: counts[tag] for tag in base.tag_to_cluster if tag in counts}
    print(
        f"{out}: {len(result.tag_to_cluster)} tags in {len(result.clusters)} clusters; {_annotations(result, divided)}"
    )


def _by_skip_gram(group, arguments: argparse.Namespace, k_range: tuple[int, int]):
    """The subclusters of one genre; where its tags never meet there is nothing to learn from, and none."""
    from orpheus.semantics import skipgram, subgenres

    if len(group.tracks.tags) < 2 or not len(skipgram.samples(group.tracks)[0]):
        logger.warning("%s: no two of its %d tags meet on a track; left out", group.genre, len(group.tracks.tags))
        return subgenres.Subclusters(group.genre, {}, 0, {}, group.tracks.tags, group.rare, {})
    if arguments.epochs < 1 or arguments.patience < 1 or arguments.batch_size < 1 or not arguments.learning_rate > 0:
        raise ConfigError("--epochs, --patience, --batch-size and --learning-rate must be above 0")
    learned = skipgram.embed(
        group.tracks,
        epochs=arguments.epochs,
        patience=arguments.patience,
        batch_size=arguments.batch_size,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
    )
    logger.debug(
        "%s: %d samples, %d epochs, loss %.4f", group.genre, learned.samples, len(learned.loss), min(learned.loss)
    )
    return subgenres.by_vectors(
        group,
        learned.vectors,
        k_range=k_range,
        scaled=arguments.scale_k,
        n_init=arguments.n_init,
        seed=arguments.seed,
    )


METHODS = {
    "kmeans": Method("k-means with normalised centroids over word vectors (Model 3)", _kmeans_flags, _kmeans),
    "npmi": Method(
        "hierarchical clusters by normalised pointwise mutual information (Model 4.1)", _npmi_flags, _subgenres
    ),
    "skip-gram": Method("k-means of vectors learned from co-occurring tags (Model 4.2)", _skip_gram_flags, _subgenres),
}


def main(argv=None) -> int:
    """Run the command."""
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
