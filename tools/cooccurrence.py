"""Which tags or clusters meet on tracks: the matrix, a heat map, correlated pairs and a draft of genres.txt."""

import argparse
import sys
from pathlib import Path

from orpheus.base import cli
from orpheus.errors import ConfigError, DataError
from tools import _tracks

LARGE = 2000  # columns above which the matrix is written sparse


def parser() -> cli.Parser:
    """The command's flags."""
    result = cli.parser(
        "tools.cooccurrence",
        "Count how often tags, or the clusters of a dictionary, meet on tracks. Writes OUT/cooccurrence.npy (or .npz, a "
        "scipy sparse matrix, when large), labels.tsv, pairs.tsv, heatmap.png and, for clusters, a draft of genres.txt.",
        example="python -m tools.cooccurrence --tags lastfm_tags.db --dictionary dictionaries/glove/100_models "
        "--out out/cooccurrence",
    )
    _tracks.add_source(result)
    result.add_argument(
        "--dictionary", type=Path, metavar="JSON", help="dictionary whose clusters are counted instead of tags"
    )
    result.add_argument("--top", type=int, metavar="N", help="number of the most frequent tags to take; by default all")
    result.add_argument("--out", type=cli.output_folder, required=True, metavar="DIR", help="folder to write to")
    result.add_argument("--sparse", action="store_true", help=f"write .npz; otherwise only above {LARGE} columns")
    result.add_argument(
        "--shown",
        type=int,
        default=80,
        metavar="N",
        help="number of columns in the heat map, the most frequent; 0 for no picture",
    )
    pairs = result.add_argument_group("highly correlated pairs: either criterion is enough")
    pairs.add_argument("--cosine", type=float, default=0.5, metavar="C", help="c(i,j) / √(c(i,i) c(j,j)) is above C")
    pairs.add_argument(
        "--m", type=float, default=1.5, metavar="M", help="the rarer one meets the other on more than 1/M of its tracks"
    )
    return result


def body(arguments: argparse.Namespace) -> None:
    """Count, write, and print the pairs."""
    from orpheus.semantics import cooccurrence, dictionary, genres

    if not 0 <= arguments.cosine < 1 or not arguments.m >= 1:
        raise ConfigError(f"--cosine {arguments.cosine} --m {arguments.m}: expected 0 ≤ C < 1 and M ≥ 1")
    if arguments.top is not None and arguments.top < 1:
        raise ConfigError(f"--top {arguments.top}: must be at least 1")
    tracks, data = _tracks.read(arguments)
    clusters = dictionary.load(arguments.dictionary) if arguments.dictionary else None
    if clusters:
        matrix = cooccurrence.class_matrix(tracks.values(), clusters.mapping, clusters.names)
        if not matrix.counts().any():
            raise DataError(
                f"{clusters.source}: none of its {len(clusters.mapping)} tags is on a track of {data['name']}"
            )
    else:
        matrix = cooccurrence.tag_matrix(tracks.values(), tags=list(_tracks.popularity(tracks))[: arguments.top])
    large = arguments.sparse or len(matrix.tags) > LARGE
    together = cooccurrence.cooccurrence(matrix, dense=not large)
    write_matrix(arguments.out, together, matrix, large=large)
    if large:
        print(
            f"{arguments.out}: {len(matrix.tags)} columns, sparse; pairs and picture of the {LARGE} most frequent ones"
        )
        order = sorted(range(len(matrix.tags)), key=lambda i: -together[i, i])[:LARGE]
        together, names = together[order][:, order].toarray(), [matrix.tags[i] for i in order]
    else:
        names = list(matrix.tags)
    found = cooccurrence.correlated_pairs(together, cosine=arguments.cosine, m=arguments.m)
    write_pairs(arguments.out, found, names)
    for pair in found[:20]:
        print(f"{pair.cosine:.2f} {pair.share:.0%}  {names[pair.i]} | {names[pair.j]}")
    print(f"{arguments.out}: {len(names)} columns, {matrix.tracks} tracks, {len(found)} correlated pairs")
    if clusters and not large:
        drafted = genres.draft(clusters, [(pair.i, pair.j) for pair in found])
        genres.write(arguments.out, drafted, names=clusters.names)
        print(
            f"{arguments.out / 'genres.txt'}: a draft with {len(drafted.genres)} genres; read it over, genres.json has names"
        )
    if arguments.shown > 0:
        heat_map(arguments.out / "heatmap.png", together, names, shown=arguments.shown)


def write_matrix(folder: Path, together, matrix, *, large: bool) -> None:
    """The matrix (int64, counts on the diagonal) and labels.tsv: position, name, number of tracks."""
    import numpy as np

    from orpheus.base.files import atomic

    if large:
        from scipy import sparse

        with atomic(folder / "cooccurrence.npz", "wb") as file:
            sparse.save_npz(file, together.tocsr())
    else:
        with atomic(folder / "cooccurrence.npy", "wb") as file:
            np.save(file, together)
    with atomic(folder / "labels.tsv") as file:
        file.write("position\tname\ttracks\n")
        for position, (name, count) in enumerate(zip(matrix.tags, matrix.counts(), strict=True)):
            file.write(f"{position}\t{plain(name)}\t{count}\n")


def write_pairs(folder: Path, pairs, names) -> None:
    """pairs.tsv: both names, the two measures, and which criterion each pair fulfils."""
    from orpheus.base.files import atomic

    with atomic(folder / "pairs.tsv") as file:
        file.write("first\tsecond\tcosine\tshare_of_rarer\tby_cosine\tby_share\n")
        for pair in pairs:
            row = (plain(names[pair.i]), plain(names[pair.j]), f"{pair.cosine:.4f}", f"{pair.share:.4f}")
            file.write("\t".join((*row, str(int(pair.by_cosine)), str(int(pair.by_share)))) + "\n")


def plain(name: str) -> str:
    """The name on one line of a tab-separated table."""
    return " ".join(name.split())


def heat_map(path: Path, together, names, *, shown: int) -> None:
    """Picture of the normalised co-occurrence of the most frequent columns."""
    import numpy as np
    from matplotlib.figure import Figure

    from orpheus.base.files import atomic
    from orpheus.semantics.cooccurrence import normalise

    order = np.argsort(-np.diagonal(together), kind="stable")[:shown]
    normal = normalise(together[np.ix_(order, order)])
    inches = 3 + 0.16 * len(order)
    figure = Figure(figsize=(inches, inches * 0.9), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(normal, vmin=0, vmax=1, cmap="magma")
    labels = [plain(names[i])[:30] for i in order]
    axes.set_xticks(range(len(order)), labels, rotation=90, fontsize=6)
    axes.set_yticks(range(len(order)), labels, fontsize=6)
    axes.set_title("co-occurrence, c(i,j) / √(c(i,i) c(j,j))")
    figure.colorbar(image, shrink=0.7)
    with atomic(path, "wb") as file:
        figure.savefig(file, format="png", dpi=120)


def main(argv=None) -> int:
    """Run the command."""
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
