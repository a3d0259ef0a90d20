"""The whole way in five minutes: synthetic music, records, a tagger, its test metrics, tags of a file nobody trained on; then one
space of tags, songs and listeners, which is asked all three questions."""

import argparse
import json
import logging
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from orpheus.base import cli
from orpheus.errors import DataError

log = logging.getLogger("tools.demo")
ROC_WANTED = 0.85


def parser() -> cli.Parser:
    result = cli.parser(
        "tools.demo",
        "Make the demo dataset, preprocess it, train a small tagger, print its test metrics for audible and for "
        "meaningless tags, tag a held-out file, and write a report of it all. Then train one space of tags, songs and listeners, and ask "
        "it for tags of a song, songs for words and songs for a listener. Takes some five minutes on two cores.",
        example="python -m tools.demo --out demo",
    )
    result.add_argument("--out", default="demo", metavar="DIR", help="folder for data, records and the run")
    result.add_argument("--tracks", type=int, default=160, metavar="N", help="number of tracks of the demo dataset")
    result.add_argument("--epochs", type=int, default=40, metavar="N", help="number of epochs")
    result.add_argument("--config", default="configs/demo.json", metavar="FILE", help="config of the training")
    result.add_argument(
        "--joint-epochs",
        type=int,
        default=8,
        metavar="N",
        help="epochs of the space of tags, songs and listeners; 0 for none",
    )
    result.add_argument("--seed", type=int, default=0, help="seed of data, split and training")
    result.add_argument("--fresh", action="store_true", help="remove what an earlier demo left in DIR")
    return result


def body(arguments: argparse.Namespace) -> int:
    started = time.monotonic()
    out = Path(arguments.out)
    if arguments.fresh:
        shutil.rmtree(out, ignore_errors=True)
    data, records = out / "data", out / "records"
    seed = ["--seed", str(arguments.seed)]
    _call("tools.make_demo_dataset", data, "--tracks", arguments.tracks, *seed)
    _call(
        "tools.preprocess",
        "log-mel-spectrogram",
        records,
        "--csv-path",
        data / "tracks.csv",
        "--tag-path",
        data / "tags.db",
        "-n",
        10,
        *seed,
    )
    run = _call(
        "orpheus.train",
        "log-mel-spectrogram",
        "--config",
        arguments.config,
        "--tfrecords-dir",
        records,
        "--epochs",
        arguments.epochs,
        "--set",
        f"model-training.log_dir={out / 'runs'}",
        *seed,
    )
    _call("orpheus.evaluate", run, "--split", "valid", "--bootstrap", 0)  # for thresholds that have not seen the test
    _call("orpheus.evaluate", run)
    audible, meaningless, groups = _means(Path(run), data)
    held_out = _held_out(Path(run), records, data)
    picture = Path(run) / "taggram.png"
    _call("orpheus.predict", run, held_out, "--hop-seconds", 1, "--taggram", picture)
    curves = _draw(Path(run), groups)
    page = _call("orpheus.report", run, "-o", Path(run) / "report.html", "--tracks", data / "tracks.csv")
    index = _three_questions(out, records, arguments) if arguments.joint_epochs else None
    print(f"\nmacro ROC-AUC on the test split: audible tags {audible:.3f}, meaningless tags {meaningless:.3f}")
    print(f"TensorBoard: tensorboard --logdir {run}")
    print(f"pictures:    {curves}  {picture}")
    print(f"report:      {page}")
    if index:
        print(f"listen:      python -m orpheus.serve {index}   (then open http://127.0.0.1:8000)")
    print(f"done in {time.monotonic() - started:.0f} s")
    if audible < ROC_WANTED:
        raise DataError(
            f"audible tags reached {audible:.3f}, {ROC_WANTED} is expected: something is wrong with this install"
        )
    return 0


def _three_questions(out: Path, records: Path, arguments: argparse.Namespace) -> Path:
    """A joint run on the demo's sound, texts, tags and listeners; an index made with it, asked all three questions."""
    data, split, texts, vectors = out / "data", out / "split.json", out / "texts.npz", out / "vectors.txt"
    tags = ("--tags", data / "tags.db")
    if not split.exists():
        how = ("--top", 15, "--min-tracks", 2, "--shares", 60, 15, 25, "--tolerance", 12, "--nearest")
        _call("tools.split", *tags, "--tracks", data / "tracks.csv", *how, "--out", split)
    if not texts.exists():
        _call("tools.text_vectors", data / "texts", "--split", split, "--max-df", 1, "--out", texts)
    if not vectors.exists():
        learned = _training_tags(out, data, split)
        _call(
            "tools.train_word_vectors",
            "--tags",
            learned,
            "--out",
            vectors,
            *("--dimension", 32, "--epochs", 30, "--min-count", 1, "--sample", 0),
        )
    inputs = ("--tfrecords-dir", records, "--texts", texts, "--counts", data / "plays.csv", "--word-vectors", vectors)
    run = _call(
        "orpheus.train",
        "log-mel-spectrogram",
        "--config",
        "configs/joint.json",
        *inputs,
        *tags,
        "--split",
        split,
        "--epochs",
        arguments.joint_epochs,
        "--seed",
        arguments.seed,
        "--set",
        f"model-training.log_dir={out / 'runs'}",
    )
    _call("orpheus.evaluate", run, "--bootstrap", 50)
    index, known = Path(run) / "music", ("--texts", texts, "--listeners", data / "plays.csv")
    _call("orpheus.retrieve", "index", run, data / "tracks.csv", *tags, *known, "--map", "-o", index)
    song = json.loads(split.read_text(encoding="utf-8"))["test"][0]
    print(f"\ntags of {song}, which no training has heard; then songs for words, and songs for a listener:")
    _call("orpheus.retrieve", "tags", index, song, "-k", 5)
    _call("orpheus.retrieve", "search", index, "sad flute", "-k", 5)
    _call("orpheus.retrieve", "recommend", index, "--listener", _listener(data), "-k", 5)
    return index


def _training_tags(out: Path, data: Path, split: Path) -> Path:
    """Tags of the training tracks alone, for word vectors."""
    from orpheus.base import files
    from orpheus.data.tags.database import TagDatabase

    given, path = TagDatabase(data / "tags.db").tags_of_all(), out / "train_tags.jsonl"
    with files.atomic(path) as file:
        for track in json.loads(split.read_text(encoding="utf-8"))["train"]:
            file.write(json.dumps({"id": track, "tags": list(given.get(track, ()))}) + "\n")
    return path


def _listener(data: Path) -> str:
    """Id of the first listener."""
    import csv

    with open(data / "plays.csv", encoding="utf-8", newline="") as file:
        return next(csv.DictReader(file))["user"]


def _call(module: str, *arguments: object) -> str:
    """Run a command in a process of its own, show its output, and return its last line."""
    import subprocess

    words = [str(argument) for argument in arguments]
    print(f"\n$ python -m {module} {' '.join(words)}", flush=True)
    process = subprocess.Popen([sys.executable, "-m", module, *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    last = ""
    for line in process.stdout:
        print(line, end="", flush=True)
        last = line.strip() or last
    if code := process.wait():
        raise DataError(f"python -m {module} ended with exit code {code}; its message is above")
    return last


def _means(run: Path, data: Path) -> tuple[float, float, dict[str, list[tuple[str, float]]]]:
    """(mean ROC-AUC of audible tags, of meaningless tags, both groups' classes) of the test split."""
    kinds = json.loads((data / "demo.json").read_text(encoding="utf-8"))
    per_class = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["test"]["mean_of_windows"]["per_class"]
    groups: dict[str, list[tuple[str, float]]] = {}
    for group in ("audible", "meaningless"):
        values = [(name, per_class[name]["roc_auc"]) for name in kinds[group] if name in per_class]
        groups[group] = [(name, value) for name, value in values if value is not None]
        if not groups[group]:
            raise DataError(f"{run}: no {group} tag is among its classes; take more of them into tags.top")
    audible, meaningless = (sum(v for _, v in groups[group]) / len(groups[group]) for group in groups)
    return audible, meaningless, groups


def _held_out(run: Path, records: Path, data: Path) -> Path:
    """Path of the first track of the test split."""
    import csv

    test = set(json.loads((run / "run.json").read_text(encoding="utf-8"))["split"]["test"])
    with open(records / "manifest.jsonl", encoding="utf-8") as file:
        track = next(row["id"] for row in map(json.loads, file) if row["shard"] in test)
    with open(data / "tracks.csv", encoding="utf-8", newline="") as file:
        return data / next(row["audio_path"] for row in csv.DictReader(file) if row["track_id"] == track)


def _draw(run: Path, groups: dict[str, list[tuple[str, float]]]) -> Path:
    """Curves of the training, and ROC-AUC per tag."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    history = json.loads((run / "history.json").read_text(encoding="utf-8"))
    epochs = [row["epoch"] for row in history]
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    for name, label in (("PR-AUC", "PR-AUC"), ("ROC-AUC", "ROC-AUC")):
        line = left.plot(epochs, [row[f"val_{name}"] for row in history], label=f"{label}, validation")[0]
        left.plot(
            epochs, [row[name] for row in history], "--", color=line.get_color(), alpha=0.6, label=f"{label}, training"
        )
    left.set(xlabel="epoch", ylim=(0, 1), title="training")
    left.legend(loc="lower right")
    rows = [
        (name, value, group) for group, values in groups.items() for name, value in sorted(values, key=lambda v: -v[1])
    ]
    colours = {"audible": "tab:blue", "meaningless": "tab:gray"}
    right.barh([row[0] for row in rows], [row[1] for row in rows], color=[colours[row[2]] for row in rows])
    right.axvline(0.5, color="black", linewidth=1, linestyle=":")
    right.invert_yaxis()
    right.set(xlim=(0, 1), xlabel="ROC-AUC on the test split", title="what can be heard, and what means nothing (gray)")
    path = run / "demo.png"
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def main(argv: Sequence[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
