"""A recommender trained on a data folder, every step said: loading, network, epochs, predicting, evaluating."""

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from orpheus.base import cli
from orpheus.base.text_table import number
from orpheus.config import experiment as config_experiment
from orpheus.data.items import layout, texts
from orpheus.errors import ConfigError, DataError
from orpheus.learning.engine import devices
from orpheus.learning.engine import fit as engine
from orpheus.learning.evaluation import as_reference as reference
from orpheus.runs.folder import Run
from orpheus.runs.models import load_model
from orpheus.tasks.recommendation import data as recommendation_data
from orpheus.tasks.recommendation import evaluation, job, metrics, registry, run_table
from orpheus.tasks.recommendation.data import RecommendationData

Say = Callable[[str], object]


def train(
    root: Path,
    settings: Sequence[str] = (),
    *,
    experiment: str | None = None,
    overrides: Sequence[str] = (),
    epochs: int | None = None,
    seed: int = 0,
    command: str,
    say: Say,
) -> Run:
    """Train, predict and evaluate on a data folder.

    Args:
        root: Data folder with splits, features and factors.
        settings: Features of the experiment's inputs, in their order; none: those the folder has, where that is clear.
        experiment: As `registry.read`; None: ``rec_sparse`` for one setting, ``music_recommender`` for two.
        overrides: ``section.key=value`` strings; data.dataset, data.fact and data.dim are found in the folder.
        epochs: The config's if None.
        seed: Of weights, order, dropout and what is held out.
        command: For the run's command.txt.
        say: Takes each line.

    Returns:
        The run, evaluated on the test set.

    Raises:
        ConfigError: which features or factors are meant is not clear; names what there is.
        DataError: a file is missing.
    """
    began = time.monotonic()
    folder = layout.DataFolder(root, _dataset(root))
    settings = list(settings) or _settings(folder)
    experiment = experiment or ("rec_sparse" if len(settings) == 1 else "music_recommender")
    values, source = registry.read(experiment, settings)
    found = [f"data.dataset={folder.dataset}", *_factors(folder, overrides), *overrides]
    if epochs is not None:
        found.append(f"model-training.epochs={epochs}")
    config = config_experiment.parse(values, overrides=found, source=source)
    if config.evaluation != "recommendation":
        raise ConfigError(
            f"{experiment}: evaluation={config.evaluation}; a recommender is trained by one of recommendation"
        )

    say("Loading data")
    data = recommendation_data.open_data(root, config, seed=seed)
    say(f"  Training data points: {len(data.splits.train)}")
    say(f"  Validation data points: {len(data.splits.val)}")
    say(f"  Test data points (split): {len(data.held_out)}")
    say("Building network")
    job.build(data, seed=seed).summary(print_fn=say)
    training = job.job(data, config, epochs=config.training.epochs, seed=seed)
    on = devices.strategy()
    options = engine.Options(epochs=config.training.epochs, bar=cli.progress, say=say)
    engine.check(training, config.training, options, on)
    run = Run.create_numbered(folder.models, "model", command=[command])
    recommendation_data.save(run, data, config)
    about = recommendation_data.describe(data, config, Path(experiment).stem, seed=seed, built_in=False)
    say("Training")
    say(f"  on {len(data.splits.train)} items, validated on {len(data.splits.val)}")
    with run.locked():
        run.write("run", about)
        model = engine.train(training, run, config.training, options, on)
        run.write("run", {**about, "parameters": model.count_params()})
    say(f"Saving trained model {run.folder.name} in {run_table.write_table(folder.models)}")
    _evaluate(run, data, say)
    run_table.write_table(folder.models)
    say(f"  {time.monotonic() - began:.0f} s in all")
    return run


def _evaluate(run: Run, data: RecommendationData, say: Say) -> None:
    """The two predictions of the reference: held-out items that have factors, and the whole test set."""
    model = load_model(run)
    if data.held_out:
        say("Predicting for the split's test data")
        held_out = data.examples("train", ids=data.held_out, targets=True)
        truth = metrics.targets_of(held_out)
        outputs = job.outputs(model, held_out)
        theirs, ours = reference.r_squared_of_items(truth, outputs), metrics.r_squared(truth, outputs)
        say(f"  R2 avg: {theirs:.4f} (of each item, as tartarus; of each dimension {number(ours, 4)})")
    say("Predicting for the whole test data")
    say(f"  Test data points: {len(data.splits.test)}")
    outputs = job.outputs(model, data.examples("test"))
    say("  Prediction is completed")
    say("Evaluating")
    result = metrics.evaluate(data, outputs, "test")
    result["hashes"] = data.hashes()
    run.write_metrics("test", result)
    name = f"MAP@{data.config.evaluating.k}"
    theirs = metrics.as_reference(data, outputs, "test")[name]
    say(f"  {name}: {result['mean'][name]:.5f} (as tartarus, users without a test item as zero: {theirs:.5f})")
    others = {one: scores["mean"][name] for one, scores in metrics.compare(data).items()}
    for one, value in others.items():
        say(f"  {one}: {value:.5f}")
    if line := evaluation.standing(result["mean"][name], others):
        say(f"  {line}")


def _dataset(root: Path) -> str:
    """The one dataset of a folder."""
    paths = [path for name in ("splits", "datasets") for path in (root / name).glob("items_index_train_*.tsv")]
    names = sorted({path.stem.removeprefix("items_index_train_") for path in paths})
    # Hidden layers of runs have indexes of such names too, in the reference's folders: their settings are no datasets.
    names = [name for name in names if "-pred_" not in name]
    if len(names) != 1:
        raise DataError(
            f"{root}: {', '.join(names) or 'no'} items_index_train_DATASET.tsv in splits/; a recommender is trained on one"
        )
    return names[0]


def _settings(folder: layout.DataFolder) -> list[str]:
    """The features to train on where none are named: the only ones, or a text and something else."""
    known = folder.settings()
    written = [one for one in known if _is_text(folder, one)]
    if len(known) == 1:
        return known
    if len(known) == 2 and len(written) == 1:
        return [*written, *(one for one in known if one not in written)]
    raise ConfigError(
        f"{folder.train_data}: features {', '.join(known) or 'none'}; say which ones, a biography's first, or make some "
        "with python -m tools.text tfidf"
    )


def _is_text(folder: layout.DataFolder, setting: str) -> bool:
    path = folder.text_model(setting)
    return path.is_file() and isinstance(texts.load_model(path), texts.Tfidf)


def _factors(folder: layout.DataFolder, overrides: Sequence[str]) -> list[str]:
    """``data.fact`` and ``data.dim`` of the factors that a folder has, as overrides; those given are kept."""
    given = {part for part in ("data.fact", "data.dim") if any(one.startswith(f"{part}=") for one in overrides)}
    if given == {"data.fact", "data.dim"}:
        return []
    pattern = re.compile(rf"y_train_(.+)_(\d+)_{re.escape(folder.dataset)}\.npy")
    matches = [pattern.fullmatch(path.name) for path in folder.splits.glob("y_train_*.npy")]
    known = sorted((one[1], int(one[2])) for one in matches if one and one[1] != "class")
    if len(known) != 1:
        there = ", ".join(f"{fact} of {dim} dimensions" for fact, dim in known) or "none"
        cure = "name them as data.fact and data.dim" if known else "make them with python -m tools.factorize als"
        raise DataError(f"{folder.splits}: factors of train, y_train_FACT_DIM_{folder.dataset}.npy: {there}; {cure}")
    return [f"data.fact={known[0][0]}", f"data.dim={known[0][1]}"]
