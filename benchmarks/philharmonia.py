"""Orchestral clips, split by pitch: the taggers against trees and logistic regression on mean log-mel bands."""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orpheus.base import cli
from orpheus.errors import DataError

if TYPE_CHECKING:
    import numpy as np

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "philharmonia"
SHARDS, SEED = 20, 0
FORMATS = {"log-mel-spectrogram": "philharmonia.json", "waveform": "philharmonia-waveform.json"}


def parser() -> cli.Parser:
    result = cli.parser(
        "benchmarks.philharmonia",
        "Preprocess the Philharmonia's clips, train both taggers on the pitches of the training split, and compare them on "
        "held-out pitches with gradient-boosted trees and logistic regression on mean, deviation and mean step of 96 "
        "log-mel bands. Finished steps are kept; a second call goes on.",
        example="python -m benchmarks.philharmonia --out out/philharmonia",
    )
    result.add_argument("--data", default=str(DATA), metavar="DIR", help="folder with tracks.csv, tags.db and audio")
    result.add_argument("--out", default="out/philharmonia", metavar="DIR", help="records, runs and results.json")
    result.add_argument("--epochs", type=int, default=40, metavar="N", help="epochs of the log-mel model")
    result.add_argument(
        "--waveform-epochs", type=int, default=25, metavar="N", help="epochs of the waveform model; 0: without"
    )
    return result


def body(arguments: argparse.Namespace) -> int:
    data, out = Path(arguments.data), Path(arguments.out)
    if not (data / "tracks.csv").is_file():
        raise DataError(f"{data}: the Philharmonia's clips are not there; give their folder with --data")
    rows: dict[str, dict] = {}
    epochs = {"log-mel-spectrogram": arguments.epochs, "waveform": arguments.waveform_epochs}
    for frontend, config in FORMATS.items():
        if epochs[frontend]:
            folder, note = records(frontend, data, out), out / f"{frontend}.json"
            rows[f"orpheus {frontend}"] = trained(frontend, f"configs/{config}", folder, note, epochs=epochs[frontend])
    rows.update(_baselines(out))
    (out / "results.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    print(table(rows))
    return 0


def table(rows: dict[str, dict]) -> str:
    """The results as a markdown table."""
    lines = [
        "| model | macro ROC-AUC | macro PR-AUC | micro ROC-AUC | micro PR-AUC | minutes |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        values = [row[average][metric] for average in ("macro", "micro") for metric in ("roc_auc", "pr_auc")]
        lines.append(f"| {name} | {' | '.join(f'{value:.4f}' for value in values)} | {row['minutes']:.1f} |")
    return "\n".join(lines)


def call(module: str, *arguments: object, codes: Sequence[int] = (0,)) -> str:
    """The last line that a command prints.

    Raises:
        DataError: it ended with none of the exit codes.
    """
    words = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True)
    if done.returncode not in codes:
        raise DataError(f"python -m {module} ended with exit code {done.returncode}")
    return done.stdout.strip().splitlines()[-1]


def records(frontend: str, data: Path, out: Path, *more: object, name: str = "") -> Path:
    """Records of the clips in a format, made if they are not there; by `more` options, in a folder `name`."""
    folder = out / (name or frontend)
    call(
        "tools.preprocess",
        frontend,
        folder,
        "--csv-path",
        data / "tracks.csv",
        "--tag-path",
        data / "tags.db",
        "--group-column",
        "group",
        "-n",
        SHARDS,
        "--seed",
        SEED,
        *more,
    )
    return folder


def trained(
    format: str, config: str, folder: Path, note: Path, *, epochs: int, seed: int = SEED, overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """Metrics of a model on the test pitches; trained if it is not there.

    Args:
        format: Of the records.
        config: Path of the config.
        folder: The records.
        note: JSON file that keeps the result; the run's folder is beside it.
        epochs: To train.
        seed: Of the training.
        overrides: ``section.key=value`` over the config.
    """
    if note.exists():
        return json.loads(note.read_text())
    changes = [
        word for one in [f"model-training.log_dir={note.parent / 'runs'}", *overrides] for word in ("--set", one)
    ]
    started = time.monotonic()
    run = call(
        "orpheus.train",
        format,
        "--config",
        config,
        "--tfrecords-dir",
        folder,
        "--epochs",
        epochs,
        "--multi-tag",
        "--seed",
        seed,
        *changes,
    )
    minutes = (time.monotonic() - started) / 60
    call("orpheus.evaluate", run)
    summary = json.loads((Path(run) / "metrics.json").read_text())["test"]["mean_of_windows"]
    row = {
        "macro": summary["macro"],
        "micro": summary["micro"],
        "minutes": minutes,
        "run": run,
        "cores": os.cpu_count(),
    }
    row["per_class"] = summary["per_class"]
    note.write_text(json.dumps(row))
    return row


def fitted(
    data, config, run, *, epochs: int, seed: int, start=None, freeze: bool = False, macro: bool = False
) -> "dict[str, np.ndarray]":
    """Train a tagger in this process; mean scores over the windows of the clips of a split.

    Args:
        data: `orpheus.tasks.tagging.data.TaggingData`; its split may be any.
        config: Settled, `orpheus.tasks.tagging.network.settled`.
        run: New run folder, which gets everything that a run has.
        epochs: To train.
        seed: Of the training.
        start: Of `fine_tuning.start`.
        freeze: Train the tags' layer alone.
        macro: Whether the mean of the classes' areas chooses the epoch, or the area over all labels.

    Returns:
        Split → (clips, classes), of validation and test.
    """
    from orpheus.data.batches.epochs import all_windows
    from orpheus.learning.engine import devices, fit, inference
    from orpheus.tasks.tagging import data as tagging_data
    from orpheus.tasks.tagging import fine_tuning, frozen_features
    from orpheus.tasks.tagging import job as tagging_job

    job = tagging_job.job(data, config, epochs=epochs, seed=seed, macro=macro)
    job = start.job(job) if start is not None else job
    job = frozen_features.kept(fine_tuning.frozen(job), data, config) if freeze else job
    more = {"init_from": start.to_json(), "freeze": freeze} if start is not None else {}
    run.write("run", tagging_data.describe(data, config, data.catalogue.spec.format, seed=seed, epochs=epochs, **more))
    tagging_data.save(run, data, config)
    model = fit.train(job, run, config.training, fit.Options(epochs=epochs), devices.strategy())
    found = {}
    for split in ("valid", "test"):
        records = data.records_of(split)
        batches = all_windows(records, tagging_data.windows(config), batch_size=64)
        found[split] = inference.by_track(model, batches, len(records.rows()))[0]
    return found


def band_statistics(data, split: str):
    """(clips, 3 · bands) float32: mean, deviation and mean step of each log-mel band, for the clips of a split."""
    import numpy as np

    from orpheus.data.records import format

    spec, rows = data.catalogue.spec, []
    for path in data.catalogue.paths(data.split[split]):
        for record in format.read_shard(path):
            frames = np.frombuffer(format.decode(record)["audio"][0], spec.dtype).reshape(-1, spec.n_mels)
            frames = frames.astype(np.float32)
            steps = np.abs(np.diff(frames, axis=0)).mean(axis=0) if len(frames) > 1 else np.zeros(spec.n_mels)
            rows.append(np.concatenate([frames.mean(axis=0), frames.std(axis=0), steps]))
    return np.array(rows, np.float32)


def _baselines(out: Path) -> dict[str, dict]:
    """Trees and logistic regression on the same tracks and split, from the log-mel records."""
    import numpy as np
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from orpheus import config
    from orpheus.learning.evaluation import areas
    from orpheus.tasks.tagging.data import Choices, open_data

    frontend = "log-mel-spectrogram"
    loaded = config.load(f"configs/{FORMATS[frontend]}")
    data = open_data(frontend, loaded, Choices(str(out / frontend)))
    train, test = (band_statistics(data, split) for split in ("train", "test"))
    truth = {split: data.records_of(split).truth() for split in ("train", "test")}
    makers = {
        "gradient-boosted trees": lambda: HistGradientBoostingClassifier(random_state=0),
        "logistic regression": lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
    }
    found = {}
    for name, make in makers.items():
        note = out / f"{name.replace(' ', '-')}.json"
        if note.exists():
            found[name] = json.loads(note.read_text())
            continue
        started = time.monotonic()
        scores = np.zeros_like(truth["test"])
        for column in cli.progress(range(scores.shape[1]), desc=name, unit="tag"):
            scores[:, column] = make().fit(train, truth["train"][:, column]).predict_proba(test)[:, 1]
        summary = areas.summarise(truth["test"], scores, data.targets.classes)
        found[name] = {key: summary[key] for key in ("macro", "micro", "per_class")}
        found[name]["minutes"] = (time.monotonic() - started) / 60
        note.write_text(json.dumps(found[name]))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
