"""Files of text and JSON: good ones, and their readers with what must hold of anything that is accepted."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np


def text(content: str, name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(content, encoding="utf-8") and None


def as_json(value, name: str) -> Callable[[Path], None]:
    return text(json.dumps(value, ensure_ascii=False, indent=1), name)


# Text.

TRACKS = 'track_id,audio_path,artist,title,tags\n1,a.mp3,Elm,"x, y",piano; sad\n2," b.mp3",Elm,"say ""hi""",rock|pop\n3,c/d.mp3,Björk,,\n'
JAMENDO = "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS\n" + "".join(
    f"track_{n}\tartist_{n % 3}\talbum_{n}\t{n}/a.mp3\t{n * 3.5}\tgenre---rock\tmood/theme---sad\n" for n in range(8)
)


def read_tracks(path: Path) -> None:
    from orpheus.data.records.tracks import read_tracks

    found = read_tracks(path)
    assert found and all(track.track_id and track.path.strip() and "\0" not in track.path for track in found)
    assert len({track.track_id for track in found}) == len(found)


def read_tags(path: Path) -> None:
    from orpheus.data.tags.files import open_tags

    source = open_tags(path)
    assert sum(count for _, count in source.popularity()) == sum(map(len, source.tags_of_all().values()))


def read_facts(path: Path) -> None:
    from orpheus.data.splits.leaks import read_facts

    read_facts([path])


def read_interactions(path: Path) -> None:
    from orpheus.data.items import interactions

    found = interactions.read(path)
    assert np.isfinite(found.counts.data).all() and (found.counts.data > 0).all()


def read_history(path: Path) -> None:
    from orpheus.tasks.search import listeners

    assert all(song.strip() for song in listeners.read_history(path))


def read_index(path: Path) -> None:
    from orpheus.data.items import layout

    assert all(name.strip() for name in layout.read_ids(path))
    layout.read_pairs(path)


def read_annotations(path: Path) -> None:
    from orpheus.data.tags import annotations

    if annotations.is_table(path):
        annotations.cleaned_tags(annotations.read_table(path))


def read_vectors(path: Path) -> None:
    from orpheus.semantics import words

    found = words.load(path)
    assert found.matrix.shape == (len(found.names), found.dimension) and np.isfinite(found.matrix).all()


def make_vectors(folder: Path, *, kind: str) -> None:
    names, matrix = ["rock", "new york", "été", "jazz", "a"], np.random.default_rng(0).normal(0, 0.3, (5, 12))
    if kind == "binary":
        rows = b"".join(n.encode() + b" " + row.astype("<f4").tobytes() for n, row in zip(names, matrix, strict=True))
        (folder / "v.bin").write_bytes(b"5 12\n" + rows)
        return
    lines = "".join(
        f"{n.replace(' ', '_')} {' '.join(f'{v:.4f}' for v in row)}\n" for n, row in zip(names, matrix, strict=True)
    )
    content = (("5 12\n" if kind == "word2vec" else "") + lines).encode()
    (folder / "v.txt").write_bytes(content)
    (folder / "v.txt.gz").write_bytes(gzip.compress(content, mtime=0))


def read_filter(path: Path) -> None:
    from orpheus.data.tags.targets import read_filter

    assert all(read_filter(path))


# JSON.

CONFIG = {
    "model": {"n_filters": 8, "n_dense_units": 16},
    "model-training": {"batch_size": 4, "window_length": 1.5, "optimizer": {"name": "Adam", "learning_rate": 0.001}},
    "tags": {"top": 5, "with": ["a"], "merge": [["a", "b"]]},
    "tfrecords": {"n_mels": 32, "sample_rate": 8000},
}
EXPERIMENT = {
    "_comment": "x",
    "evaluation": "multiclass",
    "data": {"dataset": "SUPER", "fact": "class", "dim": 3},
    "output": {"activation": "softmax"},
    "model-training": {"loss": "binary_crossentropy", "batch_size": 3, "epochs": 30},
    "inputs": {"text": {"kind": "vector", "setting": "bow", "dense": [8, 8], "dropout": 0.5}},
}
RETRIEVAL = {"retrieval": {"input_type": "spec", "margin": 0.4}, "model-training": {"batch_size": 4}}
RUN = {
    "version": 1,
    "task": "tagging",
    "frontend": "waveform",
    "seed": 0,
    "epochs": 3,
    "tfrecords_dir": "/r",
    "database": 0,
    "tag_names": [],
    "split": {"train": ["a.tfrecord"], "valid": [], "test": []},
    "hashes": {"split": "ab", "records": "cd"},
}
STATE = {
    "history": [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": None}],
    "best": 0.1,
    "best_epoch": 2,
    "callbacks": [{"wait": 1}, {}],
}
CLASSES = {"kind": "tags", "classes": ["rock", "pop"], "columns": {"rock": 0, "Rock": 0, "pop": 1}}
DICTIONARY = {
    "format": "orpheus-dictionary",
    "version": 1,
    "tags": {"rock": 58, "indie": 58, "jazz": 3},
    "clusters": {"58": [["rock", 10], ["indie", 4]], "3": [["jazz", None]]},
    "made": {"method": "kmeans"},
    "scores": {"cost": 1.5},
}
SPLIT = {
    "format": "orpheus-split",
    "version": 1,
    "made": {},
    "least": 1,
    "tags": {"rock": [3, 2, 1]},
    "train": ["1", "2"],
    "valid": ["3"],
    "test": ["4"],
}


def read_config(path: Path) -> None:
    from orpheus import config

    found = config.load(path)
    assert found.training.batch_size > 0 and 0 < found.training.window_length <= 86_400


def read_other_config(path: Path, *, kind: str) -> None:
    from orpheus.config import experiment, retrieval, sections

    values, source = sections.read(path)
    (experiment if kind == "experiment" else retrieval).parse(values, source=source)


def read_experiment(path: Path) -> None:
    from orpheus.tasks.recommendation import registry

    registry.load(str(path))


def read_run_file(path: Path) -> None:
    from orpheus.data.tags.targets import TagTargets
    from orpheus.runs.folder import Run

    run = Run(path.parent)
    found = run.read(path.stem)
    if path.stem == "run":
        assert isinstance(found.get("task", ""), str) and isinstance(found.get("epochs", 1), int)
        for key in RUN:
            found[key]
    if path.stem == "classes":
        targets = TagTargets.from_json(found, str(path))
        assert targets.multi_hot(["rock"]).shape == (len(targets.classes),)


def read_spec(path: Path) -> None:
    from orpheus.runs.folder import Run

    spec = Run(path.parent).spec()
    assert 0 < spec.frames(1.0) * spec.width < 1 << 42


def read_dictionary(path: Path) -> None:
    from orpheus.semantics import dictionary

    found = dictionary.load(path)
    assert sum(map(len, found.clusters.values())) == len(found.mapping) and len(found.names) == len(found.clusters)


def read_genres(path: Path) -> None:
    from orpheus.semantics import genres

    found = genres.read(path)
    assert all(a >= 0 for a in (*found.genres, *(one for pair in found.merge for one in pair)))


def read_split(path: Path) -> None:
    from orpheus.data.splits.search import load

    load(path)


def read_vocabulary(path: Path) -> None:
    from orpheus.data.items import texts

    texts.load_model(path).transform(["a piano"])


def read_groups(path: Path) -> None:
    from orpheus.tasks.report.reported_runs import read_groups

    read_groups(path, ["rock", "piano"])
