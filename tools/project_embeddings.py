"""Look at vectors of tags: files for the embedding projector and TensorBoard, silhouette and t-SNE pictures."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from orpheus.base import cli
from orpheus.errors import DataError
from tools import _tracks
from tools.cooccurrence import plain


def parser() -> cli.Parser:
    """The command's flags."""
    result = cli.parser(
        "tools.project_embeddings",
        "Write OUT/metadata.tsv and OUT/vectors.tsv for projector.tensorflow.org and OUT/projector_config.pbtxt, with "
        "which `tensorboard --logdir OUT` shows the same, tags coloured by cluster. With --pictures also silhouette and "
        "t-SNE pictures, one pair per genre where the dictionary knows its genres.",
        example="python -m tools.project_embeddings --dictionary dictionaries/hetrec/20_models --embedding word2vec "
        "music.txt --out out/projector",
    )
    _tracks.add_source(result)
    next(action for action in result._actions if action.dest == "tags").required = False
    result.add_argument(
        "--dictionary",
        type=Path,
        metavar="JSON",
        help="dictionary of tags, counts and clusters; without it the tags of --tags",
    )
    result.add_argument(
        "--embedding", nargs=2, metavar=("glove|word2vec|hub", "PATH"), help="word vectors; needed for the projector"
    )
    result.add_argument(
        "--threshold", type=int, default=0, metavar="N", help="number of tracks that a tag of --tags must exceed"
    )
    result.add_argument("--out", type=cli.output_folder, required=True, metavar="DIR", help="folder to write to")
    result.add_argument(
        "--pictures",
        action="store_true",
        help="distances for them: word vectors, or without --embedding NPMI over --tags",
    )
    result.add_argument("--seed", type=int, default=0, help="seed of t-SNE")
    return result


def body(arguments: argparse.Namespace) -> None:
    """Write what was asked for."""
    from orpheus.semantics import dictionary, words

    known = dictionary.load(arguments.dictionary) if arguments.dictionary else None
    tracks = _tracks.read(arguments)[0] if arguments.tags else None
    if known is None and tracks is None:
        raise DataError("nothing to show: give --dictionary, --tags or both")
    counts = _tracks.popularity(tracks) if tracks is not None else dict(known.counts)
    tags = (
        list(known.tag_to_cluster) if known else [tag for tag, count in counts.items() if count > arguments.threshold]
    )
    if not tags:
        raise DataError(f"--threshold {arguments.threshold}: no tag has more tracks")
    if arguments.embedding:
        kind, path = arguments.embedding
        vectors = words.load(path, kind=kind, words=words.needed_words(tags), progress=cli.progress)
        kept, matrix, missing = words.vectors_of_tags(tags, vectors)
        if not kept:
            raise DataError(f"{path}: knows none of the {len(tags)} tags")
        cluster = known.mapping if known else {}
        write_projector(arguments.out, kept, matrix, counts, cluster, known.names if known else ())
        print(f"{arguments.out}: {len(kept)} tags of {matrix.shape[1]} dimensions ({len(missing)} without a vector)")
        print(f"see it with: tensorboard --logdir {arguments.out}")
    elif not arguments.pictures:
        raise DataError("no vectors to show: give --embedding, or --pictures with --tags for NPMI")
    if arguments.pictures:
        if known is None:
            raise DataError("--pictures shows clusters: give --dictionary")
        if not arguments.embedding and tracks is None:
            raise DataError("--pictures needs distances: give --embedding, or --tags for NPMI")
        for name, group in groups_of(known).items():
            if arguments.embedding:
                rows = {tag: row for tag, row in zip(kept, matrix, strict=True) if tag in group}
                shown, distances = list(rows), _cosine(list(rows.values()))
            else:
                shown, distances = _npmi(group, tracks)
            if len(shown) >= 5:
                labels = [known.tag_to_cluster[tag] for tag in shown]
                score = pictures(arguments.out, name, shown, distances, labels, known, seed=arguments.seed)
                print(f"{name}: {len(shown)} tags, silhouette {score:.3f}")


def write_projector(
    folder: Path,
    tags: Sequence[str],
    matrix,
    counts: Mapping[str, int],
    cluster: Mapping[str, int],
    names: Sequence[str],
) -> None:
    """metadata.tsv, vectors.tsv and projector_config.pbtxt.

    Args:
        folder: Created when missing.
        tags: One per row.
        matrix: (tags, d).
        counts: Tag → number of tracks.
        cluster: Tag → column; empty without a dictionary.
        names: Names of the columns.
    """
    from orpheus.learning.tensorboard import projector

    columns = [cluster.get(tag) for tag in tags]
    more = {
        "count": [counts.get(tag, "") for tag in tags],
        "cluster": ["" if column is None else column for column in columns],
        "cluster_name": ["" if column is None else names[column] for column in columns],
    }
    projector.write(folder, tags, matrix, columns=more)


def groups_of(known) -> dict[str, set[str]]:
    """Genre → its tags, where the dictionary's scores say which clusters are whose; else one group of all."""
    genres = known.scores.get("genres", {})
    found = {
        genre: {tag for cluster in facts.get("clusters", []) for tag in known.clusters.get(cluster, ())}
        for genre, facts in genres.items()
        if isinstance(facts, dict)
    }
    return {genre: tags for genre, tags in found.items() if tags} or {"all": set(known.tag_to_cluster)}


def _cosine(rows):
    import numpy as np

    from orpheus.semantics.clustering import cosine_distances

    return cosine_distances(np.stack(rows)) if rows else None


def _npmi(group: set[str], tracks: dict[str, list[str]]):
    """The group's tags that occur, and 1 − NPMI between them."""
    from orpheus.semantics import cooccurrence

    everything = cooccurrence.tag_matrix(tracks.values())
    part = everything.columns([tag for tag in everything.tags if tag in group])
    if not part.tags:
        return [], None
    return list(part.tags), cooccurrence.npmi_distances(cooccurrence.cooccurrence(part), part.tracks)


def pictures(folder: Path, name: str, tags: Sequence[str], distances, labels, known, *, seed: int) -> float:
    """silhouette_NAME.png and tsne_NAME.png of some tags; returns their mean silhouette."""
    import re

    import numpy as np
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from sklearn.manifold import TSNE
    from sklearn.metrics import silhouette_samples

    from orpheus.base.files import atomic

    labels = np.asarray(labels)
    several = 2 <= len(set(labels.tolist())) < len(labels)
    values = silhouette_samples(distances, labels, metric="precomputed") if several else np.zeros(len(labels))
    clusters = sorted(set(labels.tolist()))
    colours = {cluster: colormaps["tab20"](i % 20) for i, cluster in enumerate(clusters)}
    title = {cluster: plain(", ".join(known.clusters[cluster][:2]))[:40] for cluster in clusters}
    file_name = re.sub(r"\W+", "_", name).strip("_") or "genre"

    figure = Figure(figsize=(8, 2 + 0.04 * len(tags) + 0.1 * len(clusters)), layout="constrained")
    axes, height, ticks = figure.add_subplot(), 0, []
    for cluster in clusters:
        bars = np.sort(values[labels == cluster])
        axes.barh(np.arange(height, height + len(bars)), bars, height=1, color=colours[cluster])
        ticks.append(height + (len(bars) - 1) / 2)
        height += len(bars) + 1
    axes.set_yticks(ticks, [title[cluster] for cluster in clusters], fontsize=7)
    axes.axvline(values.mean(), linestyle="--", color="black", linewidth=0.8)
    axes.set(xlabel="silhouette", title=f"{name}: mean silhouette {values.mean():.3f}")
    with atomic(folder / f"silhouette_{file_name}.png", "wb") as file:
        figure.savefig(file, format="png", dpi=120)

    perplexity = min(30.0, (len(tags) - 1) / 3)
    # The approximation's threads cost more than they save on few points.
    method = "exact" if len(tags) <= 200 else "barnes_hut"
    tsne = TSNE(metric="precomputed", init="random", perplexity=perplexity, random_state=seed, method=method)
    places = tsne.fit_transform(np.asarray(distances))
    figure = Figure(figsize=(9, 8), layout="constrained")
    axes = figure.add_subplot()
    for cluster in clusters:
        axes.scatter(*places[labels == cluster].T, s=14, color=colours[cluster], label=title[cluster])
    for tag, place in list(zip(tags, places, strict=True))[:80]:
        axes.annotate(plain(tag)[:24], place, fontsize=6, xytext=(2, 2), textcoords="offset points")
    axes.set(title=f"{name}: t-SNE", xticks=[], yticks=[])
    if len(clusters) <= 20:
        axes.legend(fontsize=6)
    with atomic(folder / f"tsne_{file_name}.png", "wb") as file:
        figure.savefig(file, format="png", dpi=120)
    return float(values.mean())


def main(argv=None) -> int:
    """Run the command."""
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
