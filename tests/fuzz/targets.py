"""The file kinds that the project reads: how to make a good one, and everything that is done with it on reading."""

import functools
import gzip
import json
import pickle
import random
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse

from tests.fuzz import mutation

Mutate = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True)
class Target:
    """A kind of file.

    Attributes:
        name: Of the kind.
        file: Name of the file that is mutated, in the folder that `make` fills.
        make: Fills a folder.
        read: Reads the file as the project does; asserts what must hold of anything that is accepted.
        mutate: How.
        many: Inputs in the slow run; of fewer than 5,000 there are none in the default one.
    """

    name: str
    file: str
    make: Callable[[Path], None]
    read: Callable[[Path], None]
    mutate: Mutate = mutation.of_bytes
    many: int = 5000


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
    lines = "".join(f"{n.replace(' ', '_')} {' '.join(f'{v:.4f}' for v in row)}\n" for n, row in zip(names, matrix, strict=True))  # fmt: skip
    content = (("5 12\n" if kind == "word2vec" else "") + lines).encode()
    (folder / "v.txt").write_bytes(content)
    (folder / "v.txt.gz").write_bytes(gzip.compress(content, mtime=0))


def read_filter(path: Path) -> None:
    from orpheus.data.tags.targets import read_filter

    assert all(read_filter(path))


# JSON.

CONFIG = {"model": {"n_filters": 8, "n_dense_units": 16}, "model-training": {"batch_size": 4, "window_length": 1.5, "optimizer": {"name": "Adam", "learning_rate": 0.001}}, "tags": {"top": 5, "with": ["a"], "merge": [["a", "b"]]}, "tfrecords": {"n_mels": 32, "sample_rate": 8000}}  # fmt: skip
EXPERIMENT = {"_comment": "x", "evaluation": "multiclass", "data": {"dataset": "SUPER", "fact": "class", "dim": 3}, "output": {"activation": "softmax"}, "model-training": {"loss": "binary_crossentropy", "batch_size": 3, "epochs": 30}, "inputs": {"text": {"kind": "vector", "setting": "bow", "dense": [8, 8], "dropout": 0.5}}}  # fmt: skip
RETRIEVAL = {"retrieval": {"input_type": "spec", "margin": 0.4}, "model-training": {"batch_size": 4}}
RUN = {"version": 1, "task": "tagging", "frontend": "waveform", "seed": 0, "epochs": 3, "tfrecords_dir": "/r", "database": 0, "tag_names": [], "split": {"train": ["a.tfrecord"], "valid": [], "test": []}, "hashes": {"split": "ab", "records": "cd"}}  # fmt: skip
STATE = {"history": [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": None}], "best": 0.1, "best_epoch": 2, "callbacks": [{"wait": 1}, {}]}  # fmt: skip
CLASSES = {"kind": "tags", "classes": ["rock", "pop"], "columns": {"rock": 0, "Rock": 0, "pop": 1}}
DICTIONARY = {"format": "orpheus-dictionary", "version": 1, "tags": {"rock": 58, "indie": 58, "jazz": 3}, "clusters": {"58": [["rock", 10], ["indie", 4]], "3": [["jazz", None]]}, "made": {"method": "kmeans"}, "scores": {"cost": 1.5}}  # fmt: skip
SPLIT = {"format": "orpheus-split", "version": 1, "made": {}, "least": 1, "tags": {"rock": [3, 2, 1]}, "train": ["1", "2"], "valid": ["3"], "test": ["4"]}  # fmt: skip


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
    from orpheus.tasks.report.material import read_groups

    read_groups(path, ["rock", "piano"])


# Arrays and databases.


def make_table(folder: Path) -> None:
    np.save(folder / "x.npy", np.arange(12, dtype=np.float32).reshape(4, 3))
    (folder / "x.tsv").write_text("a\nb\nc\nd\n")
    np.savez(folder / "x.npz", ids=np.array(["a", "b"]), matrix=np.eye(2, dtype=np.float32))
    scipy.sparse.save_npz(folder / "sparse.npz", scipy.sparse.csr_matrix(np.eye(4)), compressed=False)
    (folder / "x.txt").write_text("a\t1\t2\nb\t3\t4\n")


def read_table(path: Path) -> None:
    from orpheus.data.items import tables

    found = tables.read(path)
    assert found.dense(found.ids).shape == (len(found.ids), *found.matrix.shape[1:])


def read_sparse(path: Path) -> None:
    from orpheus.data.items import tables

    matrix = tables.load_matrix(path)
    tables.densify(matrix[:1])


def make_scores(folder: Path) -> None:
    np.savez_compressed(folder / "scores_test.npz", ids=np.array(["a", "b"]), groups=np.array(["g", "h"]), classes=np.array(["x", "y", "z"]), unit=np.array("artist"), truth=np.packbits(np.eye(2, 3, dtype=bool), axis=1), scores=np.full((2, 3), 0.5, np.float32))  # fmt: skip


def read_scores(path: Path) -> None:
    from orpheus.runs.folder import Run
    from orpheus.tasks.tagging.scores import Scores

    found = Scores.load(Run(path.parent), "test")
    assert found is None or found.scores.shape == found.truth.shape == (len(found.ids), len(found.classes))


def make_patches(folder: Path) -> None:
    import h5py

    from orpheus.data.items.patches import PatchSpec

    spec = PatchSpec(kind="mel", bins=4, seconds=0.5, count=1)
    with h5py.File(folder / "p.hdf5", "w") as file:
        file.attrs.update(
            {"spec": json.dumps(spec.__dict__), "mean": np.zeros(4, np.float32), "std": np.ones(4, np.float32)}
        )
        file["index"] = np.array([b"a", b"b", b"c"])
        file.create_dataset("features", data=np.ones((3, 1, spec.frames, 4), np.float32), chunks=(1, 1, spec.frames, 4))


def read_patches(path: Path) -> None:
    from orpheus.data.items.patches import Patches

    with Patches(path) as found:
        rows = [rows[0] for rows in found.positions(found.ids[:3])]
        assert found.rows(rows).shape == (len(rows), found.frames, found.width)
        found.made_with()


def make_database(folder: Path) -> None:
    from orpheus.data.tags.database import TagDatabase

    TagDatabase.write(folder / "tags.db", [(f"T{n % 7}", f"tag {n % 5} é", 10.0 * n) for n in range(10)])


def make_songs(folder: Path) -> None:
    from orpheus.tasks.search.store import Song, SongStore

    about = {"run": "/r", "identity": "abc", "input_type": "audio", "dimension": "4", "training_tags": '["rock"]'}
    store = SongStore(folder / "songs.db", about=about)
    store.put(
        [Song(f"s{n}", np.full(4, n, np.float32), ("rock", "é"), path=f"/m/{n}.mp3", hash=str(n)) for n in range(3)]
    )
    store.put_tags(["rock"], np.ones((1, 4), np.float32))
    store.close()


def read_songs(path: Path) -> None:
    from orpheus.tasks.search.store import SongStore

    store = SongStore(path)
    try:
        numbers = store.numbers()
        assert store.vectors(numbers, 4).shape == (len(numbers), 4)
        store.songs(numbers), store.tag_counts(), store.tag_vectors(), store.known(""), store.find("s1")
        assert store.revision >= 0 and len(store) >= 0
    finally:
        store.close()


def mutate_database(content: bytes, draw: random.Random) -> bytes:
    """A value of the database changed by SQL, which damages no page; else as `of_bytes`."""
    if draw.random() < 0.6:
        return mutation.of_bytes(content, draw)
    connection = sqlite3.connect(":memory:")
    connection.deserialize(content)
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")]  # fmt: skip
    table = draw.choice(sorted(tables))
    column = draw.choice([row[1] for row in connection.execute(f"PRAGMA table_info({table})")])
    value = draw.choice(["NULL", "''", "0", "-1", "9e999", "x'ff'", "CAST(x'ff80' AS TEXT)", "'[1]'", "'[['", "zeroblob(100000)", "99999999"])  # fmt: skip
    changes = [f"UPDATE {table} SET {column} = {value} WHERE rowid % {draw.choice([1, 2, 3])} = 0", f"DELETE FROM {table} WHERE rowid % {draw.choice([1, 2])} = 0", f"DROP TABLE {table}", f"ALTER TABLE {table} RENAME COLUMN {column} TO other", f"ALTER TABLE {table} ADD COLUMN more TEXT"]  # fmt: skip
    try:
        connection.execute(draw.choices(changes, [8, 2, 1, 1, 1])[0])
        connection.commit()
    except sqlite3.Error:
        pass  # a constraint of the table: the database stays as it was
    changed = connection.serialize()
    connection.close()
    return changed


def make_nearest(folder: Path) -> None:
    from orpheus.learning.vectors.nearest import Nearest

    index = Nearest(4)
    index.add([1, 2, 3], np.eye(4, dtype=np.float32)[:3])
    index.save(folder / "v.faiss")


def read_nearest(path: Path) -> None:
    from orpheus.learning.vectors.nearest import Nearest

    Nearest.load(path, 4).search(np.ones((1, 4), np.float32), 2)


def make_pickle(folder: Path) -> None:
    value = {"rock": np.int64(3), "pop": 4, "x": np.arange(3), "y": ["a", ("b", 1.5)]}
    (folder / "d.pkl").write_bytes(pickle.dumps(value, protocol=2))


def read_pickle(path: Path) -> None:
    from orpheus.semantics import pickles

    pickles.load(path)


# Records and models, which load TensorFlow.


def make_records(folder: Path) -> None:
    from orpheus.data.audio.spec import LOG_MEL, AudioSpec
    from orpheus.data.records import format

    spec = AudioSpec(LOG_MEL, sample_rate=8000, n_mels=4)
    rows = []
    for shard in ("a.tfrecord", "b.tfrecord"):
        made = [format.encode(f"{shard}{n}", np.ones((9, 4), np.float16), [["rock", "é"]]) for n in range(3)]
        format.write_shard(folder / shard, made)
        rows += [format.Row(f"{shard}{n}", "g", (("rock", "é"),), 0.5, shard, len(one)) for n, one in enumerate(made)]
    format.write_spec(folder, spec, 1, seed=0)
    lines = [json.dumps(format.row_to_json(row), ensure_ascii=False) for row in rows]
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_records(path: Path) -> None:
    from orpheus.data.records import format

    found = format.open_folder(path.parent, format="log-mel-spectrogram")
    rows = found.rows(found.shards)
    assert all(0 <= row.seconds < float("inf") and isinstance(row.tags[0], tuple) for row in rows)


def read_sources(path: Path) -> None:
    from orpheus.data.tags import sources

    found, _ = sources.read([path])
    assert all(isinstance(tag, str) for tags in found.values() for tag in tags)


def make_split(folder: Path) -> None:
    """A folder that is a run and records at once, with shards named by part."""
    rows = [{"id": f"{part}{n}", "artist": f"a{n}", "tags": ["x"], "seconds": 1.5, "bytes": 10, "shard": f"{part}-0.tfrecord"} for part in ("train", "valid", "test") for n in range(2)]  # fmt: skip
    (folder / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    split = {part: [f"{part}-0.tfrecord"] for part in ("train", "valid", "test")}
    as_json({**RUN, "tfrecords_dir": str(folder), "split": split}, "run.json")(folder)


def read_open_split(path: Path) -> None:
    from orpheus.data.splits import leaks

    if path.name == "manifest.jsonl":
        (path.parent / "run.json").unlink(missing_ok=True)
    found = leaks.open_split([path.parent])
    facts = leaks.read_facts([path.parent / "manifest.jsonl"])
    leaks.audit(found.parts, {"artist": facts.artist, "album": facts.album})


def read_shard(path: Path) -> None:
    from orpheus.data.records import format

    for record in format.read_shard(path):
        format.decode(record)


def mutate_record(content: bytes, draw: random.Random) -> bytes:
    """A record of another content whose checksums are right, or as `of_bytes`."""
    import tensorflow as tf

    if draw.random() < 0.7:
        return mutation.of_bytes(content, draw)
    size = int.from_bytes(content[:8], "little")
    path = Path(f"/tmp/fuzz-{draw.getrandbits(64):x}.tfrecord")
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(mutation.of_bytes(content[12 : 12 + size], draw))
    changed = path.read_bytes()
    path.unlink()
    return changed


def make_model(folder: Path) -> None:
    import keras

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="one")])
    model.compile("sgd", "mse")
    model.save(folder / "model.keras", include_optimizer=False)
    model.save_weights(folder / "model.weights.h5")


def read_model(path: Path) -> None:
    from orpheus.runs.folder import Run
    from orpheus.runs.models import load_model

    load_model(Run(path.parent))


@functools.cache
def _small_model():
    import keras

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="one")])
    model.compile("sgd", "mse")
    return model


def read_weights(path: Path) -> None:
    from orpheus.runs.models import load_weights

    load_weights(_small_model(), path)


def make_audio(folder: Path) -> None:
    import soundfile

    wave = 0.5 * np.sin(np.arange(4000) / 10)
    for name in ("a.wav", "a.flac", "a.ogg", "a.mp3"):
        soundfile.write(folder / name, np.stack([wave, wave], axis=1), 8000)
    np.savez(folder / "a.npz", array=wave.astype(np.float32), sr=8000)


def read_audio(path: Path) -> None:
    from orpheus.data.audio import reading
    from orpheus.data.audio.spec import WAVEFORM, AudioSpec

    found = reading.load(path, AudioSpec(WAVEFORM, sample_rate=8000))
    assert found.ndim == 1 and np.isfinite(found).all() and found.size < 1 << 28


JSON, TEXT = mutation.of_json, mutation.of_text
ARCHIVE = mutation.of_archive
TARGETS = [
    Target("csv of tracks", "t.csv", text(TRACKS, "t.csv"), read_tracks, TEXT),
    Target("csv of tags", "t.csv", text(TRACKS, "t.csv"), read_tags, TEXT),
    Target("facts for a split", "t.csv", text(TRACKS, "t.csv"), read_facts, TEXT),
    Target("tag file", "t.tsv", text(JAMENDO, "t.tsv"), read_tags, TEXT),
    Target("interactions csv", "i.csv", text("user,item,count\nu,a,3\nv,b,1\nu,b,2\n", "i.csv"), read_interactions, TEXT),
    Target("interactions tsv", "i.tsv", text("u\ta\t3\nv\tb\t1.5\nu\tb\t2\n", "i.tsv"), read_interactions, TEXT),
    Target("index of items", "i.tsv", text("a\t1.mp3\nb\té.mp3\n", "i.tsv"), read_index, TEXT),
    Target("table of annotations", "a.tsv", text("track_id\ttag\tscore\n1\trock\t50\n2\tpop\t1\n", "a.tsv"), read_annotations, TEXT),
    Target("filter", "tags_remove.txt", text("seen live\nété\n", "tags_remove.txt"), read_filter, TEXT),
    Target("GloVe", "v.txt", functools.partial(make_vectors, kind="glove"), read_vectors, TEXT),
    Target("word2vec text", "v.txt", functools.partial(make_vectors, kind="word2vec"), read_vectors, TEXT),
    Target("word2vec binary", "v.bin", functools.partial(make_vectors, kind="binary"), read_vectors),
    Target("vectors, packed", "v.txt.gz", functools.partial(make_vectors, kind="glove"), read_vectors),
    Target("config", "config.json", as_json(CONFIG, "config.json"), read_config, JSON),
    Target("config of an experiment", "e.json", as_json(EXPERIMENT, "e.json"), read_experiment, JSON),
    Target("config of retrieval", "r.json", as_json(RETRIEVAL, "r.json"), functools.partial(read_other_config, kind="retrieval"), JSON),
    Target("run.json", "run.json", as_json(RUN, "run.json"), read_run_file, JSON),
    Target("classes.json", "classes.json", as_json(CLASSES, "classes.json"), read_run_file, JSON),
    Target("history.json", "history.json", as_json(STATE["history"], "history.json"), read_run_file, JSON),
    Target("metrics.json", "metrics.json", as_json({"test": {"mean_of_windows": {"ROC": 0.5}}}, "metrics.json"), read_run_file, JSON),
    Target("songs.json", "songs.json", as_json({"1": ["artist", ["rock"]]}, "songs.json"), read_run_file, JSON),
    Target("state of a checkpoint", "state.json", as_json(STATE, "state.json"), read_run_file, JSON),
    Target("spec of a run", "spec.json", as_json({"format": "waveform", "sample_rate": 8000, "n_fft": 512, "hop_length": 256, "n_mels": 32, "dtype": "int16"}, "spec.json"), read_spec, JSON),
    Target("dictionary", "d.json", as_json(DICTIONARY, "d.json"), read_dictionary, JSON),
    Target("genres.txt", "genres.txt", text("[0, 1]\n[[0, 1]]\n", "genres.txt"), read_genres, TEXT),
    Target("genres.json", "genres.json", as_json({"genres": [0, 1], "merge": [[0, 1]], "names": {"0": "x"}}, "genres.json"), read_genres, JSON),
    Target("split", "s.json", as_json(SPLIT, "s.json"), read_split, JSON),
    Target("vocabulary of TF-IDF", "v.json", as_json({"kind": "tfidf", "ngrams": 1, "words": ["a", "piano"], "idf": [1.0, 2.5]}, "v.json"), read_vocabulary, JSON),
    Target("vocabulary of sequences", "v.json", as_json({"kind": "sequences", "length": 5, "words": ["a", "piano"]}, "v.json"), read_vocabulary, JSON),
    Target("groups of tags", "g.json", as_json({"groups": {"genres": ["rock"], "instruments": ["piano"]}}, "g.json"), read_groups, JSON),
    Target("table .npy", "x.npy", make_table, read_table),
    Target("table .npz", "x.npz", make_table, read_table, ARCHIVE),
    Target("table of text", "x.txt", make_table, read_table, TEXT),
    Target("sparse matrix", "sparse.npz", make_table, read_sparse, ARCHIVE),
    Target("scores", "scores_test.npz", make_scores, read_scores, ARCHIVE),
    Target("patches", "p.hdf5", make_patches, read_patches),
    Target("tag database", "tags.db", make_database, read_tags, mutate_database),
    Target("songs of an index", "songs.db", make_songs, read_songs, mutate_database),
    Target("vectors of an index", "v.faiss", make_nearest, read_nearest),
    Target("pickle", "d.pkl", make_pickle, read_pickle),
    Target("spec.json", "spec.json", make_records, read_records, JSON),
    Target("manifest.jsonl", "manifest.jsonl", make_records, read_records, JSON),
    Target("manifest as tags", "manifest.jsonl", make_records, read_sources, JSON),
    Target("manifest as a split", "manifest.jsonl", make_split, read_open_split, JSON),
    Target("run as a split", "run.json", make_split, read_open_split, JSON),
    Target("shard", "a.tfrecord", make_records, read_shard, mutate_record),
    Target("model.keras", "model.keras", make_model, read_model, functools.partial(ARCHIVE, json_members=True)),
    Target("weights", "model.weights.h5", make_model, read_weights),
    Target("audio .wav", "a.wav", make_audio, read_audio),
    # A damaged one is decoded again, by ffmpeg in a process of its own: 20 to 200 ms each.
    *(Target(f"audio .{name}", f"a.{name}", make_audio, read_audio, many=200) for name in ("flac", "mp3", "ogg")),
    Target("audio .npz", "a.npz", make_audio, read_audio, ARCHIVE),
]  # fmt: skip
