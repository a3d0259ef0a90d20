"""Does balanced-weighted sampling win? Tags that find songs, with anchors, pools and weights of triplets, on two data sets.

hetrec: artists of HetRec 2011 as songs; inputs are factors of the listening counts, tags are those that listeners gave.
philharmonia: orchestral clips as songs, a small short-chunk CNN on spectrograms. Both with word vectors trained on the tag
lists of the training split only, some tags held out of training (zero-shot), the same split for all runs. hybrid: the clips
again, with factors of simulated listeners who care for half of the tags only, so that neither input knows everything.
Finished runs are kept; the same command goes on where it stopped.
"""

import argparse
import csv
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from orpheus.base import cli, files
from orpheus.errors import ConfigError, DataError

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
SAMPLINGS = {  # negatives of the batch are the reference's
    "random, batch": {"is_balanced": False},
    "balanced, batch": {"is_balanced": True},
    "balanced-weighted, batch": {"is_balanced": True, "is_weighted": True},
    "random, all": {"is_balanced": False, "negatives": "all"},
    "balanced, all": {"is_balanced": True, "negatives": "all"},
    "balanced-weighted, all": {"is_balanced": True, "is_weighted": True, "negatives": "all"},
    "balanced, batch, InfoNCE": {"is_balanced": True, "loss": "infonce"},
    "balanced, all, InfoNCE": {"is_balanced": True, "loss": "infonce", "negatives": "all"},
}
INPUTS = {
    "audio": ("spec", "sum"),
    "factors": ("cf", "sum"),
    "both, summed": ("hybrid", "sum"),
    "both, concatenated": ("hybrid", "concat"),
    "both, as published": ("hybrid", "concat-raw"),
}
METRICS = ("MAP", "ROC-AUC", "P@10")
VECTORS = ("--dimension", 100, "--epochs", 30, "--min-count", 3, "--sample", 0)
TRAINING = {"optimizer": {"name": "Adam", "learning_rate": 0.001}, "batch_size": 128}
AUDIO = {"sample_rate": 22050, "n_fft": 1024, "hop_length": 512, "n_mels": 128}
PARTS = ("hetrec", "philharmonia", "hybrid")


def parser() -> cli.Parser:
    result = cli.parser(
        "benchmarks.retrieval", __doc__.strip(), example="python -m benchmarks.retrieval --seeds 3 --out out/retrieval"
    )
    result.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="which")
    result.add_argument("--hetrec", default=str(SHARED / "hetrec2011-lastfm-2k"), metavar="DIR", help="the .dat files")
    result.add_argument(
        "--philharmonia", default=str(SHARED / "philharmonia"), metavar="DIR", help="tracks.csv, tags.db and audio"
    )
    result.add_argument("--out", default="out/retrieval", metavar="DIR", help="data, runs and the tables")
    result.add_argument(
        "--samplings",
        nargs="+",
        choices=list(SAMPLINGS),
        default=list(SAMPLINGS),
        metavar="NAME",
        help=f"of hetrec and philharmonia: {', '.join(map(repr, SAMPLINGS))}",
    )
    result.add_argument("--seeds", type=int, default=3, metavar="N", help="runs of each kind")
    result.add_argument("--epochs", type=int, metavar="N", help="of each run; 50 on factors, 12 on audio if not given")
    result.add_argument("--smoke", action="store_true", help="one seed, one epoch of 2 steps: does it run?")
    return result


def body(arguments: argparse.Namespace) -> None:
    if arguments.seeds < 1 or (arguments.epochs or 1) < 1:
        raise ConfigError("--seeds and --epochs must be at least 1")
    out = Path(arguments.out)
    text = []
    for part in arguments.parts:
        source = Path(arguments.hetrec if part == "hetrec" else arguments.philharmonia)
        if not source.is_dir():
            raise DataError(f"{source}: not there; give the folder with --hetrec or --philharmonia")
        began = time.monotonic()
        text.append({"hetrec": hetrec, "philharmonia": philharmonia, "hybrid": hybrid}[part](source, out, arguments))
        print(f"{part}: {(time.monotonic() - began) / 60:.1f} minutes", flush=True)
        with files.atomic(out / f"{part}.md") as file:
            file.write(text[-1] + "\n")
    print("\n\n".join(text))


def hetrec(source: Path, out: Path, arguments: argparse.Namespace) -> str:
    """Artists by factors of their listeners."""
    import numpy as np

    from orpheus.data.items import hetrec as reader
    from orpheus.data.items import tables
    from orpheus.learning.vectors import factorisation

    folder = out / "hetrec"
    split, lists, vectors = (folder / name for name in ("split.json", "train.jsonl", "vectors.txt"))
    if not (folder / "factors.npz").exists():
        data = reader.read(source)
        kept = data.interactions.filter(min_listeners=3, min_items=5)
        found = factorisation.als(factorisation.confidence(kept.counts), 200, seed=0)
        tables.write(folder / "factors.npz", tables.Table("factors", tuple(kept.items), np.asarray(found.items)))
        tagged = {artist: sorted(tags) for artist, tags in data.tags.items() if artist in set(kept.items)}
        _write_lists(folder / "tags.jsonl", tagged)
    if not split.exists():
        _call(
            "tools.split",
            "--tags",
            folder / "tags.jsonl",
            "--by",
            "track",
            "--top",
            100,
            "--min-tracks",
            10,
            "--nearest",
            "--out",
            split,
        )
    _word_vectors(split, folder / "tags.jsonl", lists, vectors)
    inputs = ("--factors", folder / "factors.npz", "--tags", folder / "tags.jsonl", "--split", split)
    zero_shot = files.read_json(split)["tags"]
    config = {
        "retrieval": {"input_type": "cf", "zero_shot": list(zero_shot)[5::10]},
        "model-training": TRAINING,
        "tags": {"top": 100},
    }
    rows = _samplings(folder, "features", config, inputs, vectors, arguments.epochs or 50, arguments)
    return _table("Factors of listeners (HetRec 2011)", rows)


def philharmonia(source: Path, out: Path, arguments: argparse.Namespace) -> str:
    """Clips by their sound."""
    folder = out / "philharmonia"
    config, inputs, vectors = _clips(source, folder)
    rows = _samplings(folder, "log-mel-spectrogram", config, inputs, vectors, arguments.epochs or 12, arguments)
    return _table("Audio (Philharmonia)", rows)


def hybrid(source: Path, out: Path, arguments: argparse.Namespace) -> str:
    """Clips by their sound, by simulated listeners, and by both."""
    folder = out / "philharmonia"
    config, inputs, vectors = _clips(source, folder)
    factors = _listeners(folder)
    tags = ("--tags", folder / "records", "--split", folder / "split.json")
    rows: dict[str, list[dict]] = {}
    for name, (kind, fusion) in INPUTS.items():
        mine = {**config["retrieval"], "input_type": kind, "fusion": fusion, "is_balanced": True}
        mine |= {"zero_shot": []}
        sources = {"spec": inputs, "cf": ("--factors", factors, *tags), "hybrid": (*inputs, "--factors", factors)}[kind]
        frontend = "features" if kind == "cf" else "log-mel-spectrogram"
        rows[name] = _seeds(
            folder / "hybrid" / name.replace(", ", "-"),
            frontend,
            {**config, "retrieval": mine},
            sources,
            vectors,
            arguments.epochs or 12,
            arguments,
        )
    return _table("Audio and simulated listeners (Philharmonia), balanced sampling", rows)


def _clips(source: Path, folder: Path) -> tuple[dict[str, Any], tuple, Path]:
    """Records, split by pitch, and word vectors of the clips: config, options of the inputs, vectors."""
    records, split, vectors = (folder / name for name in ("records", "split.json", "vectors.txt"))
    _call(
        "tools.preprocess",
        "log-mel-spectrogram",
        records,
        "--csv-path",
        source / "tracks.csv",
        "--tag-path",
        source / "tags.db",
        "--group-column",
        "group",
        "--sr",
        22050,
        "--mels",
        128,
        "--n-fft",
        1024,
        "--hop-length",
        512,
        "-n",
        8,
    )
    if not split.exists():
        tracks = folder / "tracks.csv"
        with open(source / "tracks.csv", encoding="utf-8", newline="") as given, files.atomic(tracks) as file:
            file.write("track_id,artist\n")
            file.writelines(f"{row['track_id']},{row['group']}\n" for row in csv.DictReader(given))
        _call(
            "tools.split",
            "--tags",
            records,
            "--tracks",
            tracks,
            "--top",
            36,
            "--min-tracks",
            4,
            "--tolerance",
            5,
            "--nearest",
            "--out",
            split,
        )
    _word_vectors(split, records / "manifest.jsonl", folder / "train.jsonl", vectors)
    tags = list(files.read_json(split)["tags"])
    config = {
        "retrieval": {
            "input_type": "spec",
            "n_filters": 8,
            "input_length": 86,
            "num_chunk": 2,
            "triplets_per_epoch": 3200,
            "embedding": 128,
            "zero_shot": tags[8::9],
        },
        "model-training": {**TRAINING, "batch_size": 64},
        "tags": {"top": 36},
        "tfrecords": AUDIO,
    }
    return config, ("--tfrecords-dir", records, "--split", split), vectors


def _listeners(folder: Path) -> Path:
    """Factors of listeners who each love three tags of one half of all: they say nothing about the other half."""
    import numpy as np
    from scipy import sparse

    from orpheus.data.items import tables
    from orpheus.learning.vectors import factorisation

    path = folder / "listeners.npz"
    if path.exists():
        return path
    tags = list(files.read_json(folder / "split.json")["tags"])[1::2]
    rows = {row["id"]: set(row["tags"]) for row in files.read_jsonl(folder / "records" / "manifest.jsonl")}
    rng, songs = np.random.default_rng(0), sorted(rows)
    counts = np.zeros((600, len(songs)), np.float32)
    for listener in counts:
        loved = set(rng.choice(tags, 3, replace=False))
        rates = np.array([0.02 + 0.4 * len(loved & rows[song]) for song in songs])
        listener[:] = rng.poisson(rates)
    found = factorisation.als(factorisation.confidence(sparse.csr_matrix(counts)), 50, seed=0)
    tables.write(path, tables.Table("listeners", tuple(songs), np.asarray(found.items)))
    return path


def _write_lists(path: Path, tracks: dict[str, list[str]]) -> None:
    with files.atomic(path) as file:
        file.writelines(json.dumps({"id": track, "tags": tags}) + "\n" for track, tags in tracks.items())


def _word_vectors(split: Path, lists: Path, train: Path, vectors: Path) -> None:
    """Vectors of tags, from the tag lists of the training split."""
    if vectors.exists():
        return
    known = {str(row["id"]): row["tags"] for row in files.read_jsonl(lists)}
    _write_lists(train, {track: known[track] for track in files.read_json(split)["train"]})
    _call("tools.train_word_vectors", "--tags", train, "--out", vectors, *VECTORS)


def _samplings(folder: Path, frontend: str, config: dict, inputs: tuple, vectors: Path, epochs: int, arguments) -> dict:
    rows = {}
    for name in arguments.samplings:
        mine = {**config, "retrieval": {**config["retrieval"], **SAMPLINGS[name]}}
        rows[name] = _seeds(folder / name.replace(", ", "-"), frontend, mine, inputs, vectors, epochs, arguments)
    return rows


def _seeds(folder: Path, frontend: str, config: dict, inputs: tuple, vectors: Path, epochs: int, arguments) -> list:
    """Test metrics of runs with several seeds; finished ones are read."""
    rows = []
    for seed in range(1 if arguments.smoke else arguments.seeds):
        note = folder / f"seed-{seed}.json"
        if not note.exists():
            training = {**config["model-training"], "log_dir": str(folder / "runs")}
            files.write_json(folder / "config.json", {**config, "model-training": training})
            short = ("--epochs", 1, "--steps-per-epoch", 2) if arguments.smoke else ("--epochs", epochs)
            run = _call(
                "orpheus.train",
                frontend,
                "--config",
                folder / "config.json",
                *inputs,
                "--word-vectors",
                vectors,
                "--seed",
                seed,
                *short,
            )
            _call("orpheus.evaluate", run, "--bootstrap", 0)
            found = json.loads((Path(run) / "metrics.json").read_text())["test"]
            files.write_json(note, {"run": run, **{key: found[key] for key in ("songs", "macro", "zero_shot")}})
        rows.append(files.read_json(note))
        print(f"{folder.name}, seed {seed}: {rows[-1]['macro']}", flush=True)
    return rows


def _table(title: str, rows: dict[str, list[dict]]) -> str:
    """A Markdown table of mean ± standard deviation over seeds."""
    some = next(iter(rows.values()))
    lines = [
        f"**{title}**: {some[0]['songs']} test songs, {len(some)} seed(s)",
        "",
        f"|  | {' | '.join(METRICS)} | {' | '.join(f'zero-shot {metric}' for metric in METRICS)} |",
        "|---" * (1 + 2 * len(METRICS)) + "|",
    ]
    for name, runs in rows.items():
        cells = [
            _spread([run[key][metric] for run in runs]) if runs[0][key] else "–"
            for key in ("macro", "zero_shot")
            for metric in METRICS
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4f}{spread}"


def _call(module: str, *arguments: object) -> str:
    words = [sys.executable, "-m", module, *map(str, arguments)]
    print("$ python -m", module, *map(str, arguments), flush=True)
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise DataError(f"python -m {module} ended with exit code {done.returncode}")
    return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""


def main(argv: list[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
