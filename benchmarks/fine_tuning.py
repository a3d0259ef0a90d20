"""What --init-from gains: few clips of instruments that a trained tagger has never heard, against a fresh start."""

import argparse
import csv
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from orpheus.base import cli, files
from orpheus.errors import DataError

SHARED = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
OLD = ("flute", "cello", "saxophone", "french-horn", "bass-clarinet", "guitar", "banjo", "bassoon")
NEW = ("clarinet", "oboe", "trombone", "double-bass", "english-horn", "contrabassoon", "mandolin")
TAGS = {"english-horn": "cor anglais"}  # where the tag is not the file's name
COMMON = (
    "woodwind",
    "brass",
    "bowed strings",
    "plucked strings",
    "loud",
    "quiet",
    "low register",
    "middle register",
    "high register",
    "short note",
    "sustained",
)
ARMS = ("fresh", "init-from", "init-from, word vectors")
SHARDS, TRAIN, VALID = 30, 3, 3
CONFIG = {
    "model": {"n_dense_units": 100, "n_filters": 4, "dropout": 0.3},
    "model-training": {
        "optimizer": {"name": "Adam", "learning_rate": 0.001},
        "batch_size": 8,
        "window_length": 1,
        "shuffle_buffer_size": 2000,
    },
}


def parser() -> cli.Parser:
    result = cli.parser(
        "benchmarks.fine_tuning",
        "Train a tagger on eight instruments of the Philharmonia's clips, then one on a tenth of the clips of seven "
        "others: fresh, from the first one's weights, and with rows of new instruments from their neighbours by word "
        "vectors that are trained on MTG-Jamendo's tags. Each seed draws other training pitches; its test "
        "pitches may be the first tagger's, of other instruments. Finished runs are kept; a second call goes on.",
        example="python -m benchmarks.fine_tuning --out out/fine_tuning --seeds 1 2 3",
    )
    result.add_argument(
        "--data", default=str(SHARED), metavar="DIR", help="folder that holds philharmonia/ and mtg-jamendo/"
    )
    result.add_argument("--out", default="out/fine_tuning", metavar="DIR", help="records, runs and results.json")
    result.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], metavar="S", help="of pitches and weights")
    result.add_argument("--first-epochs", type=int, default=10, metavar="N", help="epochs of the first tagger")
    result.add_argument("--epochs", type=int, default=20, metavar="N", help="epochs of the others")
    result.add_argument(
        "--per-instrument", type=int, metavar="N", help="at most so many clips of each, for a quick try"
    )
    return result


def body(arguments: argparse.Namespace) -> int:
    data, out = Path(arguments.data), Path(arguments.out)
    if not (data / "philharmonia/tracks.csv").is_file():
        raise DataError(f"{data}: holds no philharmonia/tracks.csv; give the folder with --data")
    started = time.monotonic()
    records = {
        name: _records(data / "philharmonia", out, name, instruments, arguments.per_instrument)
        for name, instruments in (("old", OLD), ("new", NEW))
    }
    vectors = out / "vectors.txt"
    if not vectors.exists():
        sources = sorted((data / "mtg-jamendo").glob("autotagging_instrument-*.tsv"))
        _call("tools.train_word_vectors", "--tags", *sources, "--min-count", 20, "--dimension", 30, "--out", vectors)
    first = _trained(
        records["old"], OLD, out / "first", seed=0, epochs=arguments.first_epochs, train=SHARDS - 2 * VALID
    )
    results = []
    for seed in arguments.seeds:
        for arm in ARMS:
            folder = out / f"{arm.replace(', ', '-').replace(' ', '-')}-{seed}"
            found = _trained(
                records["new"],
                NEW,
                folder,
                seed=seed,
                epochs=arguments.epochs,
                train=TRAIN,
                origin=first["run"] if arm != ARMS[0] else None,
                vectors=vectors if arm == ARMS[2] else None,
            )
            results.append({"arm": arm, "seed": seed, **found})
    files.write_json(out / "results.json", results)
    print(table(results))
    own, common = (first[kind]["pr_auc"] for kind in ("new instruments", "common tags"))
    print(
        f"\nfirst tagger, test pitches of its own: PR-AUC {own:.3f} of its instruments, {common:.3f} of the common tags"
    )
    minutes = (time.monotonic() - started) / 60
    print(f"{results[0]['train']} training clips, {results[0]['test']} test clips; {minutes:.1f} minutes")
    return 0


def table(results: Sequence[dict]) -> str:
    """Macro ROC-AUC and PR-AUC of new instruments and common tags, mean ± deviation over seeds, and gains by seed."""
    import numpy as np

    columns = [(kind, metric) for kind in ("new instruments", "common tags") for metric in ("roc_auc", "pr_auc")]
    lines = [
        "| start | " + " | ".join(f"{kind} {metric.split('_')[0].upper()}-AUC" for kind, metric in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    values = {
        arm: np.array([[row[kind][metric] for kind, metric in columns] for row in results if row["arm"] == arm])
        for arm in ARMS
    }
    for arm, rows in values.items():
        lines.append(f"| {arm} | {' | '.join(_spread(column) for column in rows.T)} |")
    for arm in ARMS[1:]:
        gains = values[arm] - values[ARMS[0]]
        lines.append(f"| {arm}: gain over fresh | {' | '.join(_spread(column, '+') for column in gains.T)} |")
    return "\n".join(lines)


def _spread(values, sign: str = "") -> str:
    deviation = values.std(ddof=1) if len(values) > 1 else float("nan")
    return f"{values.mean():{sign}.3f} ± {deviation:.3f}"


def _call(module: str, *arguments: object) -> None:
    done = subprocess.run([sys.executable, "-m", module, *map(str, arguments)])
    if done.returncode:
        raise DataError(f"python -m {module} ended with exit code {done.returncode}")


def _records(data: Path, out: Path, name: str, instruments: Sequence[str], most: int | None) -> Path:
    """Records of the clips of some instruments, in shards of whole pitches."""
    with open(data / "tracks.csv", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if Path(row["mp3_path"]).name.split("_")[0] in instruments]
    if most:
        taken: dict[str, list[dict]] = {}
        for row in rows:
            taken.setdefault(Path(row["mp3_path"]).name.split("_")[0], []).append(row)
        rows = [row for few in taken.values() for row in few[:: max(1, len(few) // most)][:most]]
    listed = out / f"{name}.csv"
    with files.atomic(listed) as file:
        writer = csv.DictWriter(file, ["track_id", "mp3_path", "group"], lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "mp3_path": (data / row["mp3_path"]).absolute()} for row in rows)
    folder = out / f"records-{name}"
    _call(
        "tools.preprocess",
        "log-mel-spectrogram",
        folder,
        "--csv-path",
        listed,
        "--tag-path",
        data / "tags.db",
        "--group-column",
        "group",
        "-n",
        SHARDS,
        "--mels",
        64,
    )
    return folder


def _trained(
    records: Path,
    instruments: Sequence[str],
    out: Path,
    *,
    seed: int,
    epochs: int,
    train: int,
    origin: str | None = None,
    vectors: Path | None = None,
) -> dict:
    """Train and score one tagger; what is there already is read."""
    if (out / "scores.json").exists():
        return files.read_json(out / "scores.json")
    import numpy as np

    from benchmarks import philharmonia
    from orpheus import config as config_module
    from orpheus.data.tags.targets import TagTargets
    from orpheus.learning.evaluation import areas
    from orpheus.runs.folder import Run
    from orpheus.tasks.tagging import data as tagging_data
    from orpheus.tasks.tagging import fine_tuning, network

    classes = [*(TAGS.get(name, name.replace("-", " ")) for name in instruments), *COMMON]
    values = json.loads(json.dumps(CONFIG))
    values["model-training"]["log_dir"] = str(out)
    values["tags"] = {"top": 1, "with": classes}
    config = network.settled(config_module.parse(values), "log-mel-spectrogram")
    opened = tagging_data.open_data("log-mel-spectrogram", config, tagging_data.Choices(str(records)))
    targets = TagTargets(tuple(classes), {name: column for column, name in enumerate(classes)})
    shards = [str(name) for name in np.random.default_rng(seed).permutation(list(opened.catalogue.shards))]
    if len(shards) < train + 2 * VALID:
        train = max(1, len(shards) - 2 * VALID)
    ends = (train, train + VALID)
    split = {"train": shards[: ends[0]], "valid": shards[ends[0] : ends[1]], "test": shards[ends[1] :]}
    data = tagging_data.TaggingData(
        opened.catalogue, targets, 0, {side: tuple(sorted(names)) for side, names in split.items()}
    )

    start = fine_tuning.start(origin, data, config, embeddings=vectors) if origin else None
    run = Run.create(out, "log-mel-spectrogram", command=sys.argv)
    scores = philharmonia.fitted(data, config, run, epochs=epochs, seed=seed, start=start)["test"]
    truth = data.records_of("test").truth()
    new = len(instruments)
    found = {"run": str(run.folder.absolute()), "train": len(data.records_of("train").rows()), "test": len(truth)}
    for name, side in (("new instruments", slice(0, new)), ("common tags", slice(new, None))):
        found[name] = areas.summarise(truth[:, side], scores[:, side], classes[side])["macro"]
    files.write_json(out / "scores.json", found)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
