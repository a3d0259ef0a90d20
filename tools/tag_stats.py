"""How popular tags are, and how much of all annotations a choice of tags or a dictionary covers."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from orpheus.base import cli
from orpheus.base.text_table import show
from orpheus.errors import ConfigError, DataError
from tools import _tracks


def parser() -> cli.Parser:
    """The command's flags."""
    result = cli.parser(
        "tools.tag_stats",
        "Count tags: the most popular ones; what part of all counts (a tag on a track) and of all tracks the top n, the "
        "top n less a filter's tags, and dictionaries cover; how many tags and tracks each cluster has. With --out also "
        "popularity.tsv, coverage.tsv, clusters_NAME.tsv and histograms (PNG).",
        example="python -m tools.tag_stats --tags lastfm_tags.db --top 50 100 500 --filter-path dictionaries "
        "--dictionary dictionaries/glove/100_models --out out/stats",
    )
    _tracks.add_source(result)
    choices = result.add_argument_group("what covers how much")
    choices.add_argument(
        "--top", type=int, nargs="+", default=[50, 100, 500], metavar="N", help="numbers of the most popular tags"
    )
    choices.add_argument(
        "--filter-path",
        type=Path,
        metavar="DIR",
        help="folder that holds tags_remove.txt: each top n also without these tags, spelled exactly so, as orpheus.train --filter",
    )
    choices.add_argument(
        "--dictionary", type=Path, nargs="+", default=[], metavar="JSON", help="dictionaries, or folders that hold one"
    )
    output = result.add_argument_group("output")
    output.add_argument(
        "--out", type=cli.output_folder, metavar="DIR", help="folder for the whole tables and the histograms"
    )
    output.add_argument(
        "--shown", type=int, default=20, metavar="N", help="number of the most popular tags, and clusters, printed"
    )
    return result


def body(arguments: argparse.Namespace) -> None:
    """Count, print and write."""
    from orpheus.data.tags import coverage as tags_coverage
    from orpheus.data.tags.targets import read_filter
    from orpheus.semantics import dictionary

    if min(arguments.top) < 1 or arguments.shown < 0:
        raise ConfigError(f"--top {min(arguments.top)} --shown {arguments.shown}: expected N ≥ 1 and N ≥ 0")
    known = {str(path): dictionary.load(path) for path in arguments.dictionary}
    tracks, data = _tracks.read(arguments)
    counts = _tracks.popularity(tracks)
    if not counts:
        raise DataError(f"{data['name']}: no track has a tag (of weight --min-val {arguments.min_val:g} or more)")
    removed = read_filter(arguments.filter_path) if arguments.filter_path else []
    choices: dict[str, list[str]] = {}
    for n in sorted(set(arguments.top)):
        choices[f"top {n}"] = list(counts)[:n]
        if removed:
            choices[f"top {n} less filter"] = [tag for tag in list(counts)[:n] if tag not in set(removed)]
    choices |= {name: list(each.tag_to_cluster) for name, each in known.items()}
    covered = tags_coverage.coverage(tracks, choices)
    sizes = {name: tags_coverage.cluster_sizes(tracks, each.mapping, each.names) for name, each in known.items()}

    popular = popularity_rows(counts, covered[0].all_tracks)
    coverage = [
        (
            each.name,
            each.tags,
            each.present,
            each.counts,
            f"{100 * each.count_share:.2f}",
            each.tracks,
            f"{100 * each.track_share:.2f}",
            f"{each.tags_per_track:.2f}",
        )
        for each in covered
    ]
    clusters = {
        name: [
            (column, each.name, each.tags, each.present, each.tracks, each.counts) for column, each in enumerate(found)
        ]
        for name, found in sizes.items()
    }
    per_track = tags_coverage.tags_per_track(tracks)
    show(POPULARITY, popular[: arguments.shown])
    print()
    show(COVERAGE, coverage)
    for name, table in clusters.items():
        largest = sorted(table, key=lambda row: (-row[4], row[0]))[: arguments.shown]
        print(f"\n{name}: {len(table)} clusters, those of most tracks first")
        show(CLUSTERS, largest)
    print(
        f"\n{data['name']}: {len(counts)} tags, {covered[0].all_tracks} tracks, {covered[0].all_counts} counts; "
        f"{per_track.mean():.2f} tags on a track (median {_median(per_track)}, at most {per_track.max()}); "
        f"{sum(count == 1 for count in counts.values())} tags on a single track"
    )
    if removed and (unseen := [tag for tag in removed if tag not in counts]):
        print(f"{arguments.filter_path}: {len(unseen)} of its {len(removed)} tags are on no track ({unseen[0]}, …)")
    if arguments.out:
        _write(arguments.out, popular, coverage, clusters)
        pictures(arguments.out, counts, per_track, sizes, marked=sorted(set(arguments.top)))


POPULARITY = ("rank", "tag", "tracks", "% of tracks", "% of counts up to here")
COVERAGE = ("choice", "tags", "present", "counts", "% of counts", "tracks", "% of tracks", "tags per track")
CLUSTERS = ("cluster", "name", "tags", "present", "tracks", "counts")


def popularity_rows(counts: dict[str, int], tracks: int) -> list[tuple]:
    """A row of `POPULARITY` for each tag, most popular first."""
    total, covered, rows = sum(counts.values()), 0, []
    for rank, (tag, count) in enumerate(counts.items(), 1):
        covered += count
        rows.append((rank, tag, count, f"{100 * count / tracks:.2f}", f"{100 * covered / total:.2f}"))
    return rows


def _median(values) -> str:
    import numpy as np

    return f"{np.median(values):g}"


def _write(folder: Path, popular: list[tuple], coverage: list[tuple], clusters: dict[str, list[tuple]]) -> None:
    from orpheus.base.files import atomic

    tables = {"popularity.tsv": (POPULARITY, popular), "coverage.tsv": (COVERAGE, coverage)}
    tables |= {f"clusters{name}.tsv": (CLUSTERS, table) for name, table in _suffixes(clusters).items()}
    for name, (header, rows) in tables.items():
        with atomic(folder / name) as file:
            for row in [header, *rows]:
                file.write("\t".join(" ".join(str(cell).split()) for cell in row) + "\n")


def _suffixes(by_dictionary: dict[str, list]) -> dict[str, list]:
    """The same under what tells the dictionaries' files apart: nothing for a single one."""
    if len(by_dictionary) == 1:
        return {"": next(iter(by_dictionary.values()))}
    return {f"_{number}": value for number, value in enumerate(by_dictionary.values(), 1)}


def pictures(folder: Path, counts: dict[str, int], per_track, sizes: dict[str, list], *, marked: Sequence[int]) -> None:
    """popularity.png, tags_per_track.png and, per dictionary, clusters.png (clusters_1.png, … of several).

    Args:
        folder: Created when missing.
        counts: Tag → tracks, most popular first.
        per_track: (tracks,) tags of each.
        sizes: Dictionary → its `tagstats.ClusterSize`.
        marked: Ranks with a line.
    """
    import numpy as np

    values = np.array(list(counts.values()))
    ranks = np.arange(1, len(values) + 1)
    figure, (left, middle, right) = _figure(3)
    left.loglog(ranks, values, linewidth=1.5)
    left.set(title="popularity", xlabel="rank of the tag", ylabel="tracks")
    edges = np.unique(np.geomspace(1, values.max() + 1, 30).astype(int))
    middle.hist(values, bins=edges, edgecolor="white")
    middle.set(title="tracks of a tag", xlabel="tracks", ylabel="tags", xscale="log", yscale="log")
    right.semilogx(ranks, 100 * np.cumsum(values) / values.sum(), linewidth=1.5)
    right.set(title="covered by the top n", xlabel="n", ylabel="% of all counts", ylim=(0, 102))
    for rank in [rank for rank in marked if rank <= len(values)]:
        for axes in (left, right):
            axes.axvline(rank, color="grey", linestyle="--", linewidth=0.8)
        right.text(rank, 3, f" {rank}", fontsize=8, color="grey")
    _save(figure, folder / "popularity.png")

    figure, (axes,) = _figure(1)
    # A few tracks with hundreds of tags would squeeze all others into one bar.
    last = int(min(per_track.max(), max(20, np.quantile(per_track, 0.995))))
    axes.hist(np.minimum(per_track, last), bins=np.arange(0.5, last + 1), edgecolor="white")
    more = f" ({last}: or more)" if per_track.max() > last else ""
    axes.set(title="tags on a track", xlabel=f"tags{more}", ylabel="tracks")
    axes.xaxis.get_major_locator().set_params(integer=True)
    _save(figure, folder / "tags_per_track.png")

    for suffix, clusters in _suffixes(sizes).items():
        figure, (left, right) = _figure(2)
        for axes, what, of in ((left, "tags", "tags in a cluster"), (right, "tracks", "tracks of a cluster")):
            found = np.array([getattr(each, what) for each in clusters])
            low, high = int(found.min()), int(found.max())
            whole = high - low < 40
            edges = np.arange(low - 0.5, high + 1) if whole else np.linspace(low, high, 31)
            axes.hist(found, bins=edges, edgecolor="white")
            axes.axvline(np.median(found), color="black", linestyle="--", linewidth=0.8, label="median")
            axes.set(title=of, xlabel=what, ylabel="clusters")
            for axis in (axes.xaxis, axes.yaxis):
                axis.get_major_locator().set_params(integer=True)
        right.legend(fontsize=8)
        _save(figure, folder / f"clusters{suffix}.png")


def _figure(panels: int):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 * panels + 0.5, 3.8), layout="constrained")
    return figure, [figure.add_subplot(1, panels, panel + 1) for panel in range(panels)]


def _save(figure, path: Path) -> None:
    from orpheus.base.files import atomic

    with atomic(path, "wb") as file:
        figure.savefig(file, format="png", dpi=120)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
