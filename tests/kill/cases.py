"""What is killed: how each command is prepared and called, and what must be the same in the end."""

import hashlib
import json
import sqlite3
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from orpheus.base import cli, files
from orpheus.data.items import layout
from tests.retriever import FakeRetriever

RATE, SONGS = 8000, 8


def audio(folder: Path) -> None:
    """Short clips of noise, their csv and their tags."""
    (folder / "audio").mkdir()
    lines = ["track_id,audio_path,tags"]
    for index in range(SONGS):
        name = f"audio/{index}.wav"
        soundfile.write(folder / name, np.random.default_rng(index).normal(0, 0.1, 16000), RATE)
        lines.append(f"t{index},{name},{'rock; loud' if index % 2 else 'jazz; calm'}")
    (folder / "tracks.csv").write_text("\n".join(lines) + "\n")


def items(folder: Path) -> None:
    """A data folder with audio, labels and splits."""
    audio(folder)
    data = layout.DataFolder(folder / "out", "D")
    ids = [f"{index}" for index in range(SONGS)]
    for subset, part in {"train": ids[:4], "val": ids[4:6], "test": ids[6:]}.items():
        layout.write_ids(data.items_index(subset), part)
    data.items_labels().parent.mkdir(parents=True, exist_ok=True)
    labels = [
        f"{item}\t{'rock' if number % 2 else 'jazz'}\t{'loud' if number % 3 else 'calm'}"
        for number, item in enumerate(ids)
    ]
    data.items_labels().write_text("\n".join(labels) + "\n")
    (data.index / "index_audio_D.tsv").write_text("".join(f"{item}\t{item}.wav\n" for item in ids))


def tagger(folder: Path) -> None:
    """Audio, its records, and a run that is not trained."""
    from orpheus.data.audio.spec import LOG_MEL, AudioSpec
    from tests import untrained

    audio(folder)
    run = untrained.make_run(folder, AudioSpec(LOG_MEL, sample_rate=RATE, n_mels=32), seconds=1.5)
    run.folder.rename(folder / "run")


def records(folder: Path) -> None:
    """Records and a config."""
    from tools import preprocess

    audio(folder)
    csv = ["--csv-path", str(folder / "tracks.csv"), "--group-column", "track_id"]
    assert (
        preprocess.main(
            [
                "log-mel-spectrogram",
                str(folder / "records"),
                *csv,
                "--sr",
                str(RATE),
                "--mels",
                "32",
                "-n",
                "4",
                "--workers",
                "0",
            ]
        )
        == 0
    )
    training = {
        "batch_size": 2,
        "window_length": 1.5,
        "split": [2, 1, 1],
        "log_dir": str(folder.with_name("here") / "out"),
        "tensorboard": "scalars",
        "shuffle_buffer_size": 4,
    }
    files.write_json(
        folder / "config.json", {"model": {"n_filters": 1, "n_dense_units": 4}, "model-training": training}
    )


def reports(folder: Path) -> None:
    """Two evaluated runs."""
    from tests.test_report import made_up_run

    for name, seed in (("one", 0), ("two", 1)):
        made_up_run(folder / name, seed=seed)


def index(arguments: list[str]) -> int:
    """Index songs of words, as `orpheus.retrieve index` does, by a retriever without a model."""
    from orpheus.tasks.search.song_index import SongIndex

    folder = Path(arguments[0])

    def body(_):
        SongIndex.create(folder / "out/index", FakeRetriever(folder / "run")).add([folder / "music"])

    return cli.run(cli.parser("orpheus.retrieve", "Index."), body, [])


def songs(folder: Path) -> None:
    """Files that say what is heard in them."""
    (folder / "music").mkdir()
    for number in range(40):
        (folder / "music" / f"{number}.wav").write_text(("sad piano", "happy guitar", "rock vocals")[number % 3])


def bytes_of(folder: Path) -> dict[str, str]:
    """Digest of every file in a folder, locks left out."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def of_run(folder: Path) -> dict[str, Any]:
    """What a training leaves that does not hold the time of day."""
    (run,) = folder.iterdir()
    found: dict[str, Any] = {
        name: digest
        for name, digest in bytes_of(run).items()
        if name.startswith(("arrays", "checkpoints", "history", "classes"))
    }
    with zipfile.ZipFile(run / "model.keras") as archive:
        return {**found, "model": hashlib.sha256(archive.read("model.weights.h5")).hexdigest()}


def of_index(folder: Path) -> dict[str, Any]:
    """What an index answers."""
    from orpheus.tasks.search.song_index import SongIndex

    found = SongIndex(folder / "index")
    with sqlite3.connect(folder / "index/songs.db") as store:
        rows = store.execute("SELECT id, path, tags, hash, vector FROM songs ORDER BY id").fetchall()
    hits = [(hit.id, round(hit.score, 6)) for hit in found.search("sad", 50)]
    names = sorted(path.name.partition("-")[0] for path in (folder / "index").iterdir())
    return {"rows": rows, "hits": sorted(hits), "names": names}


def of_export(folder: Path) -> dict[str, Any]:
    """What an exported tagger is and says."""
    from orpheus.tasks.tagging import export_formats

    (path,) = folder.iterdir()
    run, about = export_formats.read(path)
    scores = run(np.random.default_rng(0).normal(0, 0.1, (2, about["samples"])).astype(np.float32))
    return {"name": path.name, "about": about, "scores": np.round(scores, 6).tolist()}


@dataclass(frozen=True)
class Case:
    """One command.

    Attributes:
        call: `nursery.Nursery.run`'s.
        arguments: Of it; ``{}`` is the prepared folder, whose ``out`` it writes to.
        prepare: Makes the folder.
        result: What must be the same in the end, of ``out``.
        again: Other arguments for the run after the kill.
        growing: Names that are added to while the command works, and so are half when it is killed.
        old: Files that are there before: what is theirs stays until the new is whole.
        kills: How many, at moments drawn by seed.
        workers: Kill a process that it started, too.
        refused: What is said where all was written before the kill and is not written over.
    """

    call: str
    arguments: tuple[str, ...]
    prepare: Callable[[Path], None]
    result: Callable[[Path], Any] = bytes_of
    again: tuple[str, ...] | None = None
    growing: tuple[str, ...] = ()
    old: tuple[str, ...] = ()
    kills: int = 3
    workers: bool = False
    refused: str = ""


def _preprocess(workers: int) -> tuple[str, ...]:
    return (
        "log-mel-spectrogram",
        "{}/out",
        "--csv-path",
        "{}/tracks.csv",
        "--sr",
        str(RATE),
        "--n-fft",
        "256",
        "--hop-length",
        "128",
        "--mels",
        "8",
        "-n",
        "4",
        "--workers",
        str(workers),
    )


def _train(*more: str) -> tuple[str, ...]:
    return (
        "log-mel-spectrogram",
        "--config",
        "{}/config.json",
        "--tfrecords-dir",
        "{}/records",
        "--epochs",
        "3",
        "-v",
        "0",
        *more,
    )


LISTS = ("manifest.jsonl", "failures.jsonl")
_PATCHES = (
    "mel",
    "--data-dir",
    "{}/out",
    "--dataset",
    "D",
    "--audio",
    "{}/audio",
    "--sr",
    str(RATE),
    "--bins",
    "8",
    "--n-fft",
    "256",
    "--hop-length",
    "128",
    "--seconds",
    "0.5",
    "--workers",
    "2",
)
_PREDICT = (
    "{}/run",
    "{}/audio",
    "--csv",
    "{}/out/tags.csv",
    "--json",
    "{}/out/tags.json",
    "--timeline",
    "{}/out/page.html",
    "--taggram",
    "{}/out/tags.png",
)
RESUME = ("--resume", "{run}", "-v", "0")
CASES = {
    "preprocess, no worker": Case("tools.preprocess:main", _preprocess(0), audio, growing=LISTS, kills=5),
    "preprocess, 1 worker": Case("tools.preprocess:main", _preprocess(1), audio, growing=LISTS, kills=2, workers=True),
    "preprocess, 2 workers": Case("tools.preprocess:main", _preprocess(2), audio, growing=LISTS, kills=2, workers=True),
    "train": Case("orpheus.train:main", _train(), records, of_run, RESUME, growing=("events.", "run.json"), kills=3),
    "train by fit": Case(
        "orpheus.train:main", _train("--built-in"), records, of_run, RESUME, growing=("events.", "run.json"), kills=2
    ),
    "index": Case("tests.kill.cases:index", ("{}",), songs, of_index, growing=("songs.db",), kills=5),
    "patches": Case("tools.patches:main", _PATCHES, items, kills=3, workers=True),
    "factorize": Case(
        "tools.factorize:main", ("pmi", "--data-dir", "{}/out", "--dataset", "D", "--dim", "2"), items, kills=5
    ),
    "export savedmodel": Case(
        "orpheus.export:main",
        ("{}/run", "{}/out/model", "--threshold", "0.5"),
        tagger,
        of_export,
        kills=2,
        refused="a SavedModel already",
    ),
    "export tflite": Case(
        "orpheus.export:main",
        ("{}/run", "{}/out/model.tflite", "--format", "tflite", "--threshold", "0.5"),
        tagger,
        of_export,
        old=("model.tflite",),
        kills=2,
    ),
    "report": Case(
        "orpheus.report:main", ("{}/one", "{}/two", "-o", "{}/out/page.html"), reports, old=("page.html",), kills=3
    ),
    "predict": Case("orpheus.predict:main", _PREDICT, tagger, old=("tags.csv", "tags.json", "page_1.html"), kills=3),
}


def filled(texts: tuple[str, ...], folder: Path) -> list[str]:
    """Arguments with the prepared folder, and the run in it, in their places."""
    run = next(iter(sorted((folder / "out").glob("log-mel-spectrogram_*"))), folder)
    return [text.replace("{run}", str(run)).replace("{}", str(folder)) for text in texts]


def is_json(path: Path) -> bool:
    """Whether a file is whole as JSON."""
    try:
        json.loads(path.read_text())
    except ValueError:
        return False
    return True
