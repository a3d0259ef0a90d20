"""Turn the reference's pickled dictionaries into JSON, without running what a pickle may hold."""

import sys
from pathlib import Path

from orpheus import cli
from orpheus.errors import DataError


def parser() -> cli.Parser:
    """The command's flags."""
    result = cli.parser(
        "tools.convert_dictionary",
        "Convert a pickled tag dictionary to JSON. A pickle that asks for anything but plain values, NumPy scalars and "
        "arrays and scikit-learn's KMeans is refused by name. A fitted KMeans becomes a JSON file of its centroids.",
        example="python -m tools.convert_dictionary tags_dict_100.pkl dictionaries/glove/tags_dict_100.json",
    )
    result.add_argument("old", type=Path, metavar="OLD.pkl", help="the pickle")
    result.add_argument("new", type=Path, metavar="NEW.json", help="the file to write")
    result.add_argument("--lastfm", type=Path, metavar="DB", help="tag database to take the tags' counts from")
    return result


def convert(old: Path, new: Path, *, counts: dict[str, int] | None = None) -> str:
    """Convert one file; returns a sentence about it.

    Args:
        old: A pickled dict tag → cluster, or a pickled fitted KMeans.
        new: JSON: a dictionary, or for a KMeans its parameters, centroids and labels.
        counts: Tag → number of tracks.

    Raises:
        DataError: the pickle is refused, broken, or holds something else.
    """
    import numpy as np

    from orpheus.files import content_hash, write_json
    from orpheus.semantics import dictionary, pickles

    value = pickles.load(old)
    source = {"name": old.name, "sha256": content_hash(old)}
    if isinstance(value, pickles.Estimator):
        state = {k: v.tolist() if isinstance(v, np.ndarray | np.generic) else v for k, v in vars(value).items()}
        write_json(new, {"format": "orpheus-kmeans", "version": 1, "from": source, "state": state})
        shape = np.shape(getattr(value, "cluster_centers_", ()))
        return f"{new}: k-means with centroids of shape {shape}"
    if not isinstance(value, dict):
        raise DataError(f"{old}: holds a {type(value).__name__}; expected a dict of tag → cluster or a fitted KMeans")
    mapping: dict[str, int] = {}
    for tag, cluster in value.items():
        number = cluster.item() if isinstance(cluster, np.generic) else cluster
        if not isinstance(tag, str) or isinstance(number, bool) or not isinstance(number, int):
            raise DataError(f"{old}: entry {tag!r}: {cluster!r} is not a tag and a cluster number")
        mapping[str(tag)] = number
    if len(mapping) != len(value):
        raise DataError(f"{old}: {len(value) - len(mapping)} tags are equal as text")
    made = dictionary.provenance("converted", parameters={}, data=source)
    kept = {tag: counts[tag] for tag in mapping if counts and tag in counts}
    result = dictionary.Dictionary(mapping, kept, made, {}, str(old))
    result.save(new)
    return f"{new}: {len(result.tag_to_cluster)} tags in {len(result.clusters)} clusters"


def body(arguments) -> None:
    """Convert and say what came out."""
    counts = None
    if arguments.lastfm:
        from orpheus.data.lastfm import TagDatabase

        counts = dict(TagDatabase(arguments.lastfm).popularity())
    print(convert(arguments.old, arguments.new, counts=counts))


def main(argv=None) -> int:
    """Run the command."""
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
