"""Conversion of pickles: the reference's own, NumPy's other layouts, and pickles that want to run something."""

import collections
import json
import pickle
import pickletools

import numpy as np
import pytest

from orpheus.errors import DataError
from orpheus.semantics import dictionary, genres, pickles
from tools import convert_dictionary

SHIPPED = {
    "comparison-genres/tags_dict_500.pkl": (12, 11),
    "comparison/tags_dict_500.pkl": (39, 39),
    "embeddings_baseline/tags_dict_500.pkl": (7669, 500),
    "glove-twitter/100_models/tags_dict_100.pkl": (3101, 40),
    "glove-wikipedia/100_models/tags_dict_100.pkl": (2976, 39),
    "glove-wikipedia/100_models/tags_dict_500.pkl": (1462, 60),
    "npmi/tags_dict_500.pkl": (861, 88),
    "tag_embeddings/tags_dict_500.pkl": (879, 110),
    "word2vec/500_models/tags_dict_100.pkl": (754, 40),
}
KMEANS = {
    "embeddings_baseline/kmeans_500.pkl": (500, 250),
    "glove-wikipedia/100_models/kmeans_100.pkl": (100, 200),
}


def test_every_pickle_is_accounted_for(shared):
    folder = shared / "seed-dictionaries"
    assert {str(p.relative_to(folder)) for p in folder.rglob("*.pkl")} == set(SHIPPED) | set(KMEANS)


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_reference_dictionaries_keep_their_counts(shared, tmp_path, name):
    convert_dictionary.convert(shared / "seed-dictionaries" / name, tmp_path / "new.json")
    result = dictionary.load(tmp_path)
    assert (len(result.tag_to_cluster), len(result.clusters)) == SHIPPED[name]
    assert len(set(result.names)) == len(result.clusters)
    # The strings of the pickle's own opcodes are an independent witness for plain-text keys.
    raw = (shared / "seed-dictionaries" / name).read_bytes()
    plain = {arg for op, arg, _ in pickletools.genops(raw) if op.name in ("SHORT_BINUNICODE", "BINUNICODE")}
    if not any(op.name == "GLOBAL" or op.name == "STACK_GLOBAL" for op, _, _ in pickletools.genops(raw)):
        assert plain == set(result.tag_to_cluster)


def test_reference_genres_fit_the_reference_dictionary(shared, tmp_path):
    folder = shared / "seed-dictionaries"
    convert_dictionary.convert(folder / "glove-wikipedia/100_models/tags_dict_100.pkl", tmp_path / "new.json")
    whole, chosen = dictionary.load(tmp_path), genres.read(folder)
    reduced = whole.restrict(chosen.genres, chosen.merge)
    assert len(reduced.clusters) == 11 and reduced.mapping["heavy metal"] == reduced.mapping["metal"]
    assert "hard rock" not in reduced.mapping and "seen live" not in reduced.mapping
    # Clusters 14 and 18 are paired with rock and are no genres: the reference leaves them out.
    wide = whole.restrict(chosen.genres, chosen.merge, merge_outside=True)
    assert wide.mapping["hard rock"] == wide.mapping["rock"]
    rock = [len(one.clusters[one.tag_to_cluster["rock"]]) for one in (reduced, wide)]
    assert rock == [117, 269] and len(wide.clusters) == 11
    # The reference's own comparison, the top tag of each genre, has the same partition.
    convert_dictionary.convert(folder / "comparison-genres/tags_dict_500.pkl", tmp_path / "top.json")
    top = dictionary.load(tmp_path / "top.json").mapping
    pairs = {(top[tag], reduced.mapping[tag]) for tag in top}
    assert len(pairs) == len(set(top.values())) == len({b for _, b in pairs}) == 11


@pytest.mark.parametrize("name", sorted(KMEANS))
def test_reference_kmeans(shared, tmp_path, name):
    convert_dictionary.convert(shared / "seed-dictionaries" / name, tmp_path / "new.json")
    state = json.loads((tmp_path / "new.json").read_text())["state"]
    assert np.shape(state["cluster_centers_"]) == KMEANS[name] and state["n_clusters"] == KMEANS[name][0]
    assert np.isfinite(state["cluster_centers_"]).all() and set(state["labels_"]) == set(range(KMEANS[name][0]))


@pytest.mark.parametrize("protocol", range(2, 6))
def test_numpy_values_of_every_protocol(tmp_path, protocol):
    value = {
        np.str_("Rock"): np.int32(3),
        np.str_("日本"): np.int64(4),
        "plain": 5,
        "float": np.float64(1.5),
        "array": np.arange(6, dtype=np.float32).reshape(2, 3),
        "turned": np.asfortranarray(np.eye(3)[:, :2]),
        "big": np.arange(3, dtype=">i4"),
        "strings": np.array(["a", "bcd"]),
        "list": [1, (2, None)],
    }
    (tmp_path / "p.pkl").write_bytes(pickle.dumps(value, protocol))
    loaded = pickles.load(tmp_path / "p.pkl")
    assert list(loaded) == list(value)
    assert loaded.pop("list") == value.pop("list")
    for key in value:
        np.testing.assert_array_equal(loaded[key], value[key])
        assert getattr(loaded[key], "shape", None) == getattr(value[key], "shape", None)


class Evil:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def evil_pickles(marker):
    import functools
    import os
    import subprocess

    touch = f"touch {marker}"
    yield "system", pickle.dumps({"rock": Evil(os.system, touch)})
    yield "Popen", pickle.dumps(Evil(subprocess.Popen, ["touch", str(marker)]))
    yield "builtins.eval", pickle.dumps(Evil(eval, "1"))
    yield "builtins.getattr", b"cbuiltins\ngetattr\n."
    yield "functools.partial", pickle.dumps(functools.partial(os.system, touch))
    yield "posix.system", f"cposix\nsystem\n(S'{touch}'\ntR.".encode()
    yield "os.system", f"(S'{touch}'\nios\nsystem\n.".encode()
    yield "numpy.load", b"cnumpy\nload\n."
    yield "numpy.core.multiarray.fromfile", b"cnumpy.core.multiarray\nfromfile\n."
    yield "numpy.testing._private.utils.runstring", b"cnumpy.testing._private.utils\nrunstring\n(S'1'\nS'{}'\ntR."
    yield "sklearn.cluster._kmeans.os", b"csklearn.cluster._kmeans\nos\n."
    yield "collections.OrderedDict", pickle.dumps(collections.OrderedDict(a=1))
    yield "builtins.object", b"\x80\x04\x8c\x08builtins\x8c\x06object\x93)\x81."


def test_malicious_pickles_are_refused_by_name_and_never_run(tmp_path):
    marker = tmp_path / "ran"
    for name, raw in evil_pickles(marker):
        (tmp_path / "evil.pkl").write_bytes(raw)
        with pytest.raises(DataError, match=f"refused: the pickle asks for .*{name}"):
            pickles.load(tmp_path / "evil.pkl")
    assert not marker.exists()


def test_stand_ins_cannot_be_bent(tmp_path):
    scalar, dtype = b"cnumpy.core.multiarray\nscalar\n", b"cnumpy\ndtype\n"
    for raw, message in [
        (scalar + b"}b.", "tries to change a function"),
        (dtype + b"}b.", "not a readable pickle"),
        (dtype + b"(S'O8'\ntR.", "only of numbers and strings"),
        (dtype + b"(S'V8'\ntR.", "only of numbers and strings"),
        (scalar + b"(" + dtype + b"(S'i4'\ntRC\x02abtR.", "has 2 bytes"),
        (scalar + b".", "a value of type _Name is not allowed"),
        (b"cnumpy\nndarray\n(I999999999999\ntR.", "an array without content"),
        (b"csklearn.cluster._kmeans\nKMeans\n)\x81]b.", "plain dict"),
        (b"Pid\n.", "outside itself"),
        (b"\x80\x04garbage", "not a readable pickle"),
        (b"", "not a readable pickle"),
        (b"]" + b"0q\x00h\x00h\x00a.", "not a readable pickle"),
    ]:
        (tmp_path / "bent.pkl").write_bytes(raw)
        with pytest.raises(DataError, match=message):
            pickles.load(tmp_path / "bent.pkl")


def test_pickles_of_other_things(tmp_path):
    for value, message in [
        ([1, 2], "holds a list; expected a dict"),
        ({"rock": 1.5}, "entry 'rock': 1.5 is not a tag and a cluster number"),
        ({3: 1}, "entry 3: 1"),
        ({}, "holds no tag"),
        ({"rock": -1}, "expected a number from 0"),
    ]:
        (tmp_path / "p.pkl").write_bytes(pickle.dumps(value))
        with pytest.raises(DataError, match=message):
            convert_dictionary.convert(tmp_path / "p.pkl", tmp_path / "new.json")
        assert not (tmp_path / "new.json").exists()


def test_clusters_written_by_hand(tmp_path):
    (tmp_path / "c.tsv").write_text("rock\thard rock\n\njazz\t日本 \n", encoding="utf-8")
    convert_dictionary.convert(tmp_path / "c.tsv", tmp_path / "new.json", counts={"jazz": 3, "other": 4})
    made = dictionary.load(tmp_path / "new.json")
    assert made.mapping == {"rock": 0, "hard rock": 0, "jazz": 1, "日本": 1}
    assert made.counts == {"jazz": 3} and made.made["method"] == "by hand"
    for text, message in [
        ("rock\njazz\trock\n", r"c.tsv:2: tag 'rock' is there a second time"),
        ("\n", "holds no tag"),
    ]:
        (tmp_path / "c.tsv").write_text(text)
        with pytest.raises(DataError, match=message):
            convert_dictionary.convert(tmp_path / "c.tsv", tmp_path / "new.json")
    with pytest.raises(DataError, match="no such file"):
        convert_dictionary.convert(tmp_path / "none.tsv", tmp_path / "new.json")


def test_command(tmp_path, command, shared):
    old = shared / "seed-dictionaries" / "npmi" / "tags_dict_500.pkl"
    done = command("tools.convert_dictionary", old, tmp_path / "new.json")
    assert done.returncode == 0 and "861 tags in 88 clusters" in done.stdout
    (tmp_path / "evil.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    done = command("tools.convert_dictionary", tmp_path / "evil.pkl", tmp_path / "evil.json")
    assert done.returncode == 2 and "os.system" in done.stderr and done.stderr.count("\n") == 1


def test_no_other_file_reads_pickles():
    from pathlib import Path

    root = Path(__file__).resolve().parents[2]
    for file in [*root.glob("orpheus/**/*.py"), *root.glob("tools/*.py"), *root.glob("benchmarks/*.py")]:
        if file.name != "pickles.py":
            text = file.read_text(encoding="utf-8")
            assert "import pickle\n" not in text and "allow_pickle=True" not in text and "joblib.load" not in text, file
