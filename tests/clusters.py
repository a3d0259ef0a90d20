"""Clusters of the demo's tags, with word vectors, genres and a config: what trainings on clusters are given."""

import json

from orpheus import train
from orpheus.runs.folder import Run
from orpheus.semantics import dictionary, genres

CLUSTERS = {  # in this order the clusters' most frequent tags; 3 and 6 are absent, 7 occurs nowhere
    0: ("loud", "energetic", "Loud"),
    1: ("quiet", "soft", "Quiet"),
    2: ("fast", "up tempo"),
    4: ("slow", "down tempo", "down-tempo"),
    5: ("strings", "violins"),
    7: ("polka", "mazurka"),
}
VECTORS = {  # three dimensions, so that cosines can be told by hand
    "loud": (1, 0, 0),
    "energetic": (1, 0, 0),
    "quiet": (-1, 0, 0),
    "soft": (0, 2, 0),
    "fast": (0, 0, 3),
    "up": (0, 0, 1),
    "tempo": (0, 0, 1),
    "slow": (3, 4, 0),
}


def make_folder(folder):
    """A config, a dictionary, word vectors and genres.txt; returns the folder."""
    values = {
        "model": {"frontend": "fcn", "n_filters": 1, "n_dense_units": 8},
        "model-training": {
            "batch_size": 4,
            "window_length": 1.5,
            "split": [60, 20, 20],
            "log_dir": str(folder / "runs"),
            "shuffle_buffer_size": 20,
            "tensorboard": "none",
        },
        "tags": {"top": 12},
    }
    (folder / "config.json").write_text(json.dumps(values))
    clusters = {tag: cluster for cluster, tags in CLUSTERS.items() for tag in tags}
    counts = {tag: 100 - 10 * position for tags in CLUSTERS.values() for position, tag in enumerate(tags)}
    (folder / "dictionary").mkdir()
    dictionary.Dictionary(clusters, counts).save(folder / "dictionary" / "tags_dict_8.json")
    lines = [f"{word} {' '.join(map(str, vector))}" for word, vector in VECTORS.items()]
    (folder / "glove.txt").write_text("\n".join(lines) + "\n")
    genres.write(folder / "genres", genres.Genres((0, 1, 4), ((1, 4), (2, 3))))
    return folder


def call(place, demo, *more, epochs=1):
    """orpheus.train in this process: (exit code, newest run)."""
    options = ["--config", place / "config.json", "--tfrecords-dir", demo / "mel", "--epochs", epochs, *more]
    code = train.main(["log-mel-spectrogram", *map(str, options)])
    made = sorted((place / "runs").glob("*/run.json"), key=lambda path: path.stat().st_mtime_ns)
    return code, Run(made[-1].parent) if made else None


def tags_of(demo):
    rows = [json.loads(line) for line in (demo / "mel" / "manifest.jsonl").read_text().splitlines()]
    return {row["id"]: row["tags"] for row in rows}, {row["id"]: row["shard"] for row in rows}


def by_hand(tags):
    """The five clusters that occur, by the table above."""
    return [float(bool(set(tags) & set(CLUSTERS[cluster]))) for cluster in (0, 1, 2, 4, 5)]


def one_line(capsys) -> str:
    lines = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(lines) == 1
    return lines[0]


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path
