"""One battery for the retriever of a trained run and for the one without a model that the tests of search use."""

import inspect
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from orpheus.data.items.tables import Table
from orpheus.errors import ConfigError, DataError
from orpheus.runs.folder import Run
from orpheus.tasks.retrieval.retriever import Retriever
from tests.conftest import ROOT
from tests.retriever import FakeRetriever
from tests.tasks.search.test_song_index import write_records

METHODS = ("knows", "tags", "word_vectors", "files", "records", "factors")


@dataclass
class Case:
    """A retriever, two tags that it knows, audio files of it, one that cannot be used, and records."""

    retriever: Retriever | FakeRetriever
    known: list[str]
    files: list[Path]
    bad: Path
    records: Path


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.slow)])
def case(request, tmp_path):
    if request.param == "fake":
        files = [tmp_path / "one.wav", tmp_path / "two.wav"]
        for path, text in zip(files, ("sad piano", "rock guitar"), strict=True):
            path.write_text(text)
        (tmp_path / "bad.wav").write_text("silence")
        write_records(tmp_path / "records", {"a": ("sad piano", ["sad"]), "b": ("rock", ["rock", "loud"])})
        return Case(FakeRetriever(tmp_path / "run"), ["sad", "rock"], files, tmp_path / "bad.wav", tmp_path / "records")
    demo = request.getfixturevalue("demo")
    run = Run(shutil.copytree(ROOT / "tests" / "old_runs" / "retrieval", tmp_path / "run"))
    settings = run.read("run")
    run.write("run", {**settings, "vectors": {**settings["vectors"], "path": str(run.folder / "glove.txt")}})
    (tmp_path / "bad.wav").write_text("no audio")
    files = sorted((demo / "data" / "audio").iterdir())[:2]
    return Case(Retriever(run), ["loud", "up tempo"], files, tmp_path / "bad.wav", demo / "mel")


def is_unit(vector: np.ndarray, dimension: int) -> bool:
    return vector.shape == (dimension,) and vector.dtype == np.float32 and abs(np.linalg.norm(vector) - 1) < 1e-4


def test_the_same_methods():
    for name in METHODS:
        signatures = [inspect.signature(getattr(one, name)) for one in (Retriever, FakeRetriever)]
        named = [[(p.name, p.kind, p.default) for p in signature.parameters.values()] for signature in signatures]
        assert named[0] == named[1], name


def test_what_it_says_of_itself(case):
    one = case.retriever
    assert isinstance(one.run, Run) and len(one.identity) == 64 and one.dimension > 1 and one.input_type == "spec"
    assert isinstance(one.training_tags, tuple) and all(isinstance(tag, str) for tag in one.training_tags)


def test_tags(case):
    one = case.retriever
    assert all(map(one.knows, case.known)) and not one.knows("xyzzy")
    first, second = found = one.tags(case.known)
    assert found.dtype == np.float32 and is_unit(first, one.dimension) and is_unit(second, one.dimension)
    assert not np.allclose(first, second)
    np.testing.assert_allclose(one.tags(case.known[::-1])[0], second, atol=1e-6)
    assert one.tags([]).shape == (0, one.dimension)
    with pytest.raises(DataError, match=r"no vector for 'xyzzy'"):
        one.tags([case.known[0], "xyzzy"])
    vectors = one.word_vectors(case.known)
    assert vectors.dtype == np.float32 and np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_files(case):
    one = case.retriever
    found = one.files([case.files[0], case.bad, str(case.files[1])])
    assert isinstance(found, Iterator)
    (a, first), (bad, error), (b, second) = found
    assert (a, bad, b) == (case.files[0], case.bad, case.files[1])
    assert is_unit(first, one.dimension) and is_unit(second, one.dimension) and not np.allclose(first, second)
    assert isinstance(error, DataError) and str(case.bad) in str(error)


def test_records(case):
    one = case.retriever
    found = list(one.records(case.records))
    assert len({song for song, _, _ in found}) == len(found) > 1
    assert all(isinstance(song, str) and isinstance(tags, tuple) for song, tags, _ in found)
    assert all(is_unit(vector, one.dimension) for _, _, vector in found)
    song, tags, vector = found[1]
    ((again, same, close),) = one.records(case.records, only={song})
    assert (again, same) == (song, tags)
    np.testing.assert_allclose(close, vector, atol=1e-5)


def test_factors_are_for_runs_of_factors(case):
    table = Table("factors.npz", ("a",), np.ones((1, case.retriever.dimension), np.float32))
    with pytest.raises(ConfigError, match="cannot embed factors alone"):
        case.retriever.factors(table)
