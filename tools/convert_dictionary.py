"""Turn pickled dictionaries, and ones written by hand, into JSON, without running what a pickle may hold."""

import sys
from pathlib import Path

from orpheus.base import cli
from orpheus.errors import DataError


def parser() -> cli.Parser:
    """The command's flags."""
    result = cli.parser(
        "tools.convert_dictionary",
        "Convert a tag dictionary to JSON: a pickle, or a text with one cluster per line, its tags separated by tabs. A "
        "pickle that asks for anything but plain values, NumPy scalars and arrays and scikit-learn's KMeans is refused by "
        "name. A fitted KMeans becomes a JSON file of its centroids.",
        example="python -m tools.convert_dictionary tags_dict_100.pkl dictionaries/glove/tags_dict_100.json",
    )
    result.add_argument("old", type=Path, metavar="OLD", help="a pickle, or a .tsv or .txt file of clusters")
    result.add_argument("new", type=cli.output_file(), metavar="NEW.json", help="the file to write")
    result.add_argument("--lastfm", type=Path, metavar="DB", help="tag database to take the tags' counts from")
    return result


def convert(old: Path, new: Path, *, counts: dict[str, int] | None = None) -> str:
    """Convert one file; returns a sentence about it.

    Args:
        old: A pickled dict tag → cluster, a pickled fitted KMeans, or a .tsv or .txt file of clusters.
        new: JSON: a dictionary, or for a KMeans its parameters, centroids and labels.
        counts: Tag → number of tracks.

    Raises:
        DataError: the pickle is refused, broken, or holds something else.
    """
    from orpheus.base.files import content_hash
    from orpheus.semantics import dictionary, pickles

    source = {"name": old.name, "sha256": content_hash(old) if old.is_file() else None}
    by_hand = old.suffix in (".tsv", ".txt")
    value = read_clusters(old) if by_hand else pickles.load(old)
    if isinstance(value, pickles.Estimator):
        return write_estimator(new, value, source)
    result = dictionary.from_mapping(value, old, counts=counts, method="by hand" if by_hand else "converted")
    result.save(new)
    return f"{new}: {len(result.tag_to_cluster)} tags in {len(result.clusters)} clusters"


def read_clusters(path: Path) -> dict[str, int]:
    """Tag → number of its line, from a text with one cluster per line and tabs between tags; blank lines are ignored.

    Raises:
        DataError: missing, no UTF-8 text, or a tag in two places (line named).
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None
    result: dict[str, int] = {}
    clusters = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    for cluster, (number, line) in enumerate(clusters):
        for tag in (cell.strip() for cell in line.split("\t")):
            if tag in result:
                raise DataError(f"{path}:{number}: tag {tag!r} is there a second time; a tag belongs to one cluster")
            if tag:
                result[tag] = cluster
    return result


def write_estimator(new: Path, estimator, source: dict) -> str:
    """The attributes of a fitted k-means as JSON; returns a sentence about it."""
    import numpy as np

    from orpheus.base.files import write_json

    state = {k: v.tolist() if isinstance(v, np.ndarray | np.generic) else v for k, v in vars(estimator).items()}
    write_json(new, {"format": "orpheus-kmeans", "version": 1, "from": source, "state": state})
    return f"{new}: k-means with centroids of shape {np.shape(getattr(estimator, 'cluster_centers_', ()))}"


def body(arguments) -> None:
    """Convert and say what came out."""
    counts = None
    if arguments.lastfm:
        from orpheus.data.tags.database import TagDatabase

        counts = dict(TagDatabase(arguments.lastfm).popularity())
    print(convert(arguments.old, arguments.new, counts=counts))


def main(argv=None) -> int:
    """Run the command."""
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
