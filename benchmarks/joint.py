"""Does one space answer three questions as well as three models of one each? On HetRec 2011 and on the embedded demo.

hetrec: artists by texts and factors. One half of the taggers writes the texts (latent semantics of their tags),
the other half's tags are the labels, so that no text quotes its own labels; factors are of training artists alone, and test
artists have none. demo: the embedded data set's audio and texts, listeners by what they heard. On both the joint model and
three models with the same inputs and networks, each with one loss alone, are trained to the same number of steps or longer,
the best epoch of each picked by the validation figure that it is for. Finished runs are kept.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import common
from orpheus.base import cli, files
from orpheus.errors import DataError

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"
OFF = {"weight": 0}
# Name → weights of the losses and the figure that picks its epoch.
MODELS: dict[str, dict[str, Any]] = {
    "joint": {"monitor": "mean"},
    "tags alone": {"monitor": "tag_songs", "listener_loss": OFF, "class_loss": OFF},
    "classes alone": {"monitor": "song_tags", "listener_loss": OFF, "tag_loss": OFF},
    "listeners alone": {"monitor": "listener_songs", "tag_loss": OFF, "class_loss": OFF},
}
# How many times as many epochs as the joint model's: a step of one loss alone embeds fewer songs and is the cheaper one.
LONGER = {"joint": 1.0, "tags alone": 1.5, "classes alone": 1.5, "listeners alone": 1.2}
FIGURES = {"tag_songs": ("MAP", "P@10"), "song_tags": ("MAP", "ROC-AUC"), "listener_songs": ("MAP@500", "nDCG@500")}
VECTORS = ("--dimension", 100, "--epochs", 30, "--min-count", 3, "--sample", 0)
PARTS = ("hetrec", "demo")


def parser() -> cli.Parser:
    result = cli.parser(
        "benchmarks.joint",
        __doc__.strip(),
        example="python -m benchmarks.joint --parts hetrec --out out/joint",
    )
    result.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="which")
    result.add_argument("--hetrec", default=str(SHARED / "hetrec2011-lastfm-2k"), metavar="DIR", help="the .dat files")
    result.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS), help="which")
    result.add_argument("--out", default="out/joint", metavar="DIR", help="data, runs and the tables")
    result.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="each a run of every model"
    )
    result.add_argument("--epochs", type=int, metavar="N", help="of the joint model; its config's if not given")
    result.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="of section joint, for all models"
    )
    result.add_argument("--split", choices=("valid", "test"), default="test", help="which to report")
    result.add_argument("--smoke", action="store_true", help="one seed, two steps: does it run?")
    return result


def body(arguments: argparse.Namespace) -> None:
    out, tables = Path(arguments.out), []
    out.mkdir(parents=True, exist_ok=True)
    for part in arguments.parts:
        if part == "hetrec":
            source = Path(arguments.hetrec)
            if not (source / "artists.dat").is_file():
                raise DataError(f"{source}: not there; give the folder with --hetrec")
            config, options = hetrec(source, out / "hetrec")
            title = "HetRec 2011: artists by texts, listeners by what they heard"
        else:
            config, options = demo(out / "demo", smoke=arguments.smoke)
            title = "The embedded demo: tracks by sound and texts, listeners by what they heard"
        rows = {name: _seeds(name, config, options, out / part, arguments) for name in arguments.models}
        tables.append(_table(title, rows, arguments.split))
    print("\n\n".join(tables))
    print(f"\n{common.described(common.machine())}")


def hetrec(source: Path, folder: Path) -> tuple[Path, list[str]]:
    """The files of HetRec, and the options of a training on them.

    Artists of three listeners or more, listeners of five artists or more; some 15 % of the artists each for
    validation and test, over all degrees of popularity. Taggers fall into two halves by a fixed draw.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.preprocessing import normalize

    from orpheus.data.items import hetrec as reader
    from orpheus.data.items import tables
    from orpheus.data.items.tables import Table
    from orpheus.data.items.texts import Tfidf
    from orpheus.data.splits import search
    from orpheus.learning.vectors import factorisation

    if not (folder / "factors.npz").exists():
        folder.mkdir(parents=True, exist_ok=True)
        given = list(reader.assignments(source))
        taggers = sorted({user for user, _, _ in given})
        random.Random(0).shuffle(taggers)
        writers = set(taggers[: len(taggers) // 2])
        texts: dict[str, list[str]] = {}
        labels: dict[str, set[str]] = {}
        for user, artist, tag in given:
            if user in writers:
                texts.setdefault(artist, []).append(tag)
            else:
                labels.setdefault(artist, set()).add(tag)
        whole = reader.read(source).interactions
        kept = whole.select(items=[artist for artist in whole.items if artist in texts])
        kept = kept.filter(min_listeners=3, min_items=5)
        learned, test = kept.cold_start_split(0.15, seed=0)
        train, valid = kept.select(items=learned).cold_start_split(0.17, seed=1)
        parts = {"train": list(train), "valid": list(valid), "test": list(test)}
        made = {"format": search.FORMAT, "version": search.VERSION, "made": {}, "tags": {}, "least": 0}
        files.write_json(folder / "split.json", {**made, **parts})
        for name, ids in (("tags", kept.items), ("train", train)):
            with files.atomic(folder / f"{name}.jsonl") as file:
                rows = [{"id": artist, "tags": sorted(labels.get(artist, ()))} for artist in ids]
                file.writelines(json.dumps(row) + "\n" for row in rows if row["tags"])
        documents = {artist: " ".join(tag.replace(" ", "_") for tag in texts[artist]) for artist in kept.items}
        model = Tfidf.fit([documents[artist] for artist in train], vocabulary=5000, max_df=1.0)
        # Latent semantic analysis: 256 numbers of a text train ten times as fast as thousands.
        latent = TruncatedSVD(256, random_state=0).fit(model.transform([documents[artist] for artist in train]))
        vectors = normalize(latent.transform(model.transform([documents[artist] for artist in kept.items])))
        tables.write(folder / "texts.npz", Table("texts", tuple(kept.items), vectors.astype("float32")))
        with files.atomic(folder / "plays.tsv") as file:
            counts = kept.counts.tocoo()
            for row, column, value in zip(counts.row, counts.col, counts.data, strict=True):
                file.write(f"{kept.users[row]}\t{kept.items[column]}\t{value:g}\n")
        known = kept.select(items=train).filter()
        found = factorisation.als(factorisation.confidence(known.counts), 64, seed=0)
        tables.write(folder / "factors.npz", Table("factors", known.items, found.items))
    if not (folder / "vectors.txt").exists():
        _call("tools.train_word_vectors", "--tags", folder / "train.jsonl", "--out", folder / "vectors.txt", *VECTORS)
    named = {"--factors": "factors.npz", "--texts": "texts.npz", "--counts": "plays.tsv", "--tags": "tags.jsonl"}
    named |= {"--split": "split.json", "--word-vectors": "vectors.txt"}
    return ROOT / "configs" / "joint_hetrec.json", ["features", *_options(folder, named)]


def demo(folder: Path, *, smoke: bool) -> tuple[Path, list[str]]:
    """The files of the demo, more tracks of it and shorter ones, and the options of a training on them.

    A fifth of the artists each for validation and test. Word vectors are trained on the tags of the training tracks.
    """
    from orpheus.data.tags.database import TagDatabase

    data, records, split, texts = (folder / name for name in ("data", "records", "split.json", "texts.npz"))
    _call("tools.make_demo_dataset", data, "--tracks", 24 if smoke else 400, "--seconds", 6)
    paths = ("--csv-path", data / "tracks.csv", "--tag-path", data / "tags.db")
    _call("tools.preprocess", "log-mel-spectrogram", records, *paths, "-n", 4)
    if not split.exists():
        how = ("--tracks", data / "tracks.csv", "--top", 15, "--shares", 60, 20, 20, "--tolerance", 6, "--nearest")
        _call("tools.split", "--tags", data / "tags.db", *how, "--min-tracks", 10, "--out", split)
    if not texts.exists():
        _call("tools.text_vectors", data / "texts", "--split", split, "--max-df", 1, "--out", texts)
    if not (folder / "vectors.txt").exists():
        given = TagDatabase(data / "tags.db").tags_of_all()
        with files.atomic(folder / "train.jsonl") as file:
            train = files.read_json(split)["train"]
            file.writelines(json.dumps({"id": track, "tags": list(given[track])}) + "\n" for track in train)
        words = ("--dimension", 32, "--epochs", 30, "--min-count", 1, "--sample", 0)
        _call("tools.train_word_vectors", "--tags", folder / "train.jsonl", "--out", folder / "vectors.txt", *words)
    named = {
        "--split": "split.json",
        "--word-vectors": "vectors.txt",
        "--texts": "texts.npz",
        "--tfrecords-dir": "records",
    }
    named |= {"--tags": "data/tags.db", "--counts": "data/plays.csv"}
    return ROOT / "configs" / "joint.json", ["log-mel-spectrogram", *_options(folder, named)]


def _options(folder: Path, named: dict[str, str]) -> list[str]:
    return [word for option, name in named.items() for word in (option, str(folder / name))]


def _seeds(name: str, config: Path, options: list[str], folder: Path, arguments: argparse.Namespace) -> list[dict]:
    """Evaluations of runs with several seeds; finished ones are read."""
    from orpheus import evaluate, train

    rows, short = [], name.replace(" ", "-")
    values = files.read_json(config)
    epochs = arguments.epochs or values["model-training"]["n_epochs"]
    for seed in arguments.seeds[: 1 if arguments.smoke else None]:
        note = folder / f"{short}-{seed}.json"
        if not note.exists():
            mine = {**values, "joint": {**values["joint"], **_merged(values["joint"], MODELS[name])}}
            files.write_json(folder / f"{short}.json", mine)
            runs = folder / "runs" / f"{short}-{seed}"
            longer = round(LONGER[name] * epochs)
            length = ["--epochs", 1, "--steps-per-epoch", 2] if arguments.smoke else ["--epochs", longer]
            sets = [word for one in arguments.set for word in ("--set", f"joint.{one}")]
            place = ["--config", folder / f"{short}.json", "--set", f"model-training.log_dir={runs}"]
            began = time.perf_counter()
            _run(train, [*options, *place, *sets, "--seed", seed, *length])
            seconds = time.perf_counter() - began
            (run,) = runs.iterdir()
            for split in ("valid", "test"):
                _run(evaluate, [run, "--split", split, "--bootstrap", 0])
            found = files.read_json(run / "metrics.json")
            best = _best_epoch(run)
            note_of = {"run": str(run), "seconds": seconds, "epochs": longer, "best": best}
            files.write_json(note, {**note_of, **{s: _kept(found[s]) for s in ("valid", "test")}})
        rows.append(files.read_json(note))
    return rows


def _merged(section: dict, change: dict) -> dict:
    """Changes of a section, losses changed and not replaced."""
    return {
        key: {**section.get(key, {}), **value} if isinstance(value, dict) else value for key, value in change.items()
    }


def _kept(result: dict) -> dict:
    """The figures of an evaluation that tables show."""
    found = {
        question: {key: result[question][key] for key in keys}
        for question, keys in FIGURES.items()
        if question in result
    }
    if "song_tags" in result and "calibration" in result["song_tags"]:
        found["song_tags"]["ECE"] = result["song_tags"]["calibration"]["ece"]
    return {**found, "songs": result["songs"], "baselines": result.get("baselines", {})}


def _best_epoch(run: Path) -> int | None:
    from orpheus.runs.folder import Run

    best = Run.open(run).best_checkpoint()
    return None if best is None else int("".join(filter(str.isdigit, best.name)))


def _run(command: Any, words: Sequence[object]) -> None:
    """A command of orpheus in this process."""
    print("$ python -m", command.__name__, *words, flush=True)
    if command.main(list(map(str, words))):
        raise DataError(f"{command.__name__}: failed; see above")


def _call(module: str, *words: object) -> None:
    print("$ python -m", module, *words, flush=True)
    if subprocess.run([sys.executable, "-m", module, *map(str, words)], cwd=ROOT, check=False).returncode:
        raise DataError(f"{module}: failed; see above")


def _table(title: str, rows: dict[str, list[dict]], split: str) -> str:
    """A Markdown table of mean ± standard deviation over seeds."""
    first = next(iter(rows.values()))
    heads = [f"{question}: {key}" for question, keys in FIGURES.items() for key in keys]
    lines = [
        f"**{title}**: {first[0][split]['songs']} {split} songs, {len(first)} seed(s)",
        "",
        f"| model | {' | '.join(heads)} | ECE | seconds | best epoch |",
        "|---" * (len(heads) + 4) + "|",
    ]
    for name, runs in rows.items():
        cells = [
            _spread([run[split].get(question, {}).get(key) for run in runs])
            for question, keys in FIGURES.items()
            for key in (*keys, *(("ECE",) if question == "song_tags" else ()))
        ]
        cells = [*cells[:4], *cells[5:], cells[4]]
        seconds = statistics.mean(run["seconds"] for run in runs)
        best = ", ".join(f"{run['best']}/{run['epochs']}" for run in runs)
        lines.append(f"| {name} | {' | '.join(cells)} | {seconds:.0f} | {best} |")
    for name, one in first[0][split]["baselines"].items():
        cells = [_spread([one.get(question, {}).get(key)]) for question, keys in FIGURES.items() for key in keys]
        lines.append(f"| {name} | {' | '.join(cells)} |  |  |  |")
    return "\n".join(lines)


def _spread(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    return f"{statistics.mean(known):.4f}" + (f" ± {statistics.stdev(known):.4f}" if len(known) > 1 else "")


def main(argv: list[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
