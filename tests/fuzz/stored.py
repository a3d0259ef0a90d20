"""Arrays, databases, records, models and audio: good ones, and their readers, as in texts."""

import functools
import json
import pickle
import random
import sqlite3
from pathlib import Path

import numpy as np
import scipy.sparse

from tests.fuzz import mutation
from tests.fuzz.texts import RUN, as_json

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
    np.savez_compressed(
        folder / "scores_test.npz",
        ids=np.array(["a", "b"]),
        groups=np.array(["g", "h"]),
        classes=np.array(["x", "y", "z"]),
        unit=np.array("artist"),
        truth=np.packbits(np.eye(2, 3, dtype=bool), axis=1),
        scores=np.full((2, 3), 0.5, np.float32),
    )


def read_scores(path: Path) -> None:
    from orpheus.runs.folder import Run
    from orpheus.tasks.scores import Scores

    found = Scores.load(Run(path.parent), "test")
    assert found is None or found.scores.shape == found.truth.shape == (len(found.ids), len(found.classes))


def make_patches(folder: Path) -> None:
    import h5py

    from orpheus.data.items.patch_files import PatchSpec

    spec = PatchSpec(kind="mel", bins=4, seconds=0.5, count=1)
    with h5py.File(folder / "p.hdf5", "w") as file:
        file.attrs.update(
            {"spec": json.dumps(spec.__dict__), "mean": np.zeros(4, np.float32), "std": np.ones(4, np.float32)}
        )
        file["index"] = np.array([b"a", b"b", b"c"])
        file.create_dataset("features", data=np.ones((3, 1, spec.frames, 4), np.float32), chunks=(1, 1, spec.frames, 4))


def read_patches(path: Path) -> None:
    from orpheus.data.items.patch_files import Patches

    with Patches(path) as found:
        rows = [rows[0] for rows in found.positions(found.ids[:3])]
        assert found.rows(rows).shape == (len(rows), found.frames, found.width)
        found.made_with()


def make_database(folder: Path) -> None:
    from orpheus.data.tags.database import TagDatabase

    TagDatabase.write(folder / "tags.db", [(f"T{n % 7}", f"tag {n % 5} é", 10.0 * n) for n in range(10)])


def make_songs(folder: Path) -> None:
    from orpheus.tasks.search.listeners import Listener, Listeners
    from orpheus.tasks.search.store import Song, SongStore

    about = {"run": "/r", "identity": "abc", "input_type": "audio", "dimension": "4", "training_tags": '["rock"]'}
    store = SongStore(folder / "songs.db", about=about)
    store.put(
        [Song(f"s{n}", np.full(4, n, np.float32), ("rock", "é"), path=f"/m/{n}.mp3", hash=str(n)) for n in range(3)]
    )
    store.put_tags(["rock"], np.ones((1, 4), np.float32))
    store.rename({"s1": ("artist", "title")})
    Listeners(store).put([Listener("u", ("s0", "s1")), Listener("v", (), np.ones(4, np.float32))])
    store.close()


def read_songs(path: Path) -> None:
    from orpheus.tasks.search.filters import Facets
    from orpheus.tasks.search.listeners import Listeners
    from orpheus.tasks.search.store import SongStore

    store = SongStore(path)
    try:
        numbers = store.numbers()
        assert store.vectors(numbers, 4).shape == (len(numbers), 4)
        store.songs(numbers), store.tag_counts(), store.tag_vectors(), store.known(""), store.find("s1")
        facets, listeners = Facets(store), Listeners(store)
        assert facets.counts().sum() >= 0 and len(facets.numbers) == len(numbers) == len(facets.artists)
        for name in listeners.beginning("", 3):
            assert set(store.places(listeners.get(name).heard)) <= {"s0", "s1"}
        assert store.revision >= 0 and len(store) >= 0
    finally:
        store.close()


def mutate_database(content: bytes, draw: random.Random) -> bytes:
    """A value of the database changed by SQL, which damages no page; else as `of_bytes`."""
    if draw.random() < 0.6:
        return mutation.of_bytes(content, draw)
    connection = sqlite3.connect(":memory:")
    connection.deserialize(content)
    tables = [
        name
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        )
    ]
    table = draw.choice(sorted(tables))
    column = draw.choice([row[1] for row in connection.execute(f"PRAGMA table_info({table})")])
    value = draw.choice(
        [
            "NULL",
            "''",
            "0",
            "-1",
            "9e999",
            "x'ff'",
            "CAST(x'ff80' AS TEXT)",
            "'[1]'",
            "'[['",
            "zeroblob(100000)",
            "99999999",
        ]
    )
    changes = [
        f"UPDATE {table} SET {column} = {value} WHERE rowid % {draw.choice([1, 2, 3])} = 0",
        f"DELETE FROM {table} WHERE rowid % {draw.choice([1, 2])} = 0",
        f"DROP TABLE {table}",
        f"ALTER TABLE {table} RENAME COLUMN {column} TO other",
        f"ALTER TABLE {table} ADD COLUMN more TEXT",
    ]
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


def make_map(folder: Path) -> None:
    from orpheus.tasks.search import map_file

    places = np.linspace(-1, 1, 6).reshape(3, 2).astype(np.float32)
    found = map_file.Map(np.array([1, 4, 9], np.uint32), places, [(0.5, -0.5, "rock"), (0.0, 0.0, "é")])
    map_file.save(folder, found, 7)


def read_map(path: Path) -> None:
    from orpheus.tasks.search import map_file

    found = map_file.read(path)
    if found is not None:  # what is damaged is made again
        numbers, points, labels = found[1]
        assert points.shape == (len(numbers), 2) and np.abs(points).max(initial=0) <= 1
        assert all(abs(x) <= 1 and abs(y) <= 1 and isinstance(name, str) for x, y, name in labels)


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
    rows = [
        {
            "id": f"{part}{n}",
            "artist": f"a{n}",
            "tags": ["x"],
            "seconds": 1.5,
            "bytes": 10,
            "shard": f"{part}-0.tfrecord",
        }
        for part in ("train", "valid", "test")
        for n in range(2)
    ]
    (folder / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    split = {part: [f"{part}-0.tfrecord"] for part in ("train", "valid", "test")}
    as_json({**RUN, "tfrecords_dir": str(folder), "split": split}, "run.json")(folder)


def read_open_split(path: Path) -> None:
    from orpheus.data.splits import leaks

    if path.name == "manifest.jsonl":
        (path.parent / "run.json").unlink(missing_ok=True)
    found = leaks.open_split([path.parent])
    facts = leaks.read_facts([path.parent / "manifest.jsonl"])
    leaks.audit(found.splits, {"artist": facts.artist, "album": facts.album})


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
