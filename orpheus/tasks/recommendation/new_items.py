"""Inputs of new items from their files, and what a run says of them."""

import re
from pathlib import Path

import numpy as np

from orpheus.config.experiment import TextInput
from orpheus.data.audio import reading
from orpheus.data.audio.spec import WAVEFORM, AudioSpec
from orpheus.data.items import patches, tables, texts
from orpheus.errors import ConfigError, DataError
from orpheus.runs.folder import Run
from orpheus.runs.models import load_model
from orpheus.tasks.recommendation import data as recommendation_data
from orpheus.tasks.recommendation import job
from orpheus.tasks.recommendation.data import RecommendationData

TEXT_SUFFIXES, FEATURE_SUFFIXES = (".txt", ".text", ".md"), (".npy",)
_LAYER = re.compile(r"(.+)-pred_(.+)")  # a setting that is a hidden layer of a run


def outputs(run: Run, data: RecommendationData, paths: list[Path], layer: str | None = None) -> np.ndarray:
    """What a run, or a layer of it, says of new items, from their files.

    Args:
        run: Trained.
        data: Its data.
        paths: A file for each input of each item; of n items n files of each kind, in the same order.
        layer: As of `job.hidden`; None for the output.

    Returns:
        (items, dim) float32.

    Raises:
        ConfigError: files that do not fit the run's inputs.
        DataError: a file that cannot be read, or has other numbers than the input takes.
    """
    given: dict[str, list[Path]] = {"text": [], "features": [], "audio": []}
    for path in paths:
        if not path.is_file():
            raise DataError(f"{path}: no such file")
        suffix = path.suffix.lower()
        kind = "text" if suffix in TEXT_SUFFIXES else "features" if suffix in FEATURE_SUFFIXES else "audio"
        given[kind].append(path)
    inputs, parts, taken = {}, 1, 0
    plain = [name for name in data.config.inputs if _source(data, name) == "features"]
    for name in data.config.inputs:
        kind = _source(data, name)
        if kind == "run":
            inputs[name] = _of_other_run(data, data.setting(name), paths)
        elif kind == "features":
            inputs[name] = _feature_rows(given[kind][taken :: len(plain)], data, name)
            taken += 1
        elif not given[kind]:
            raise ConfigError(
                f"{run.folder}: its input {name} needs a file of {kind} for each item, and none was given"
            )
        elif kind == "text":
            inputs[name] = _text_rows(given[kind], data, name)
        else:
            inputs[name] = _patch_rows(given[kind], data, name)
            parts = len(inputs[name]) // len(given[kind])
    counts = {name: len(rows) // (parts if _source(data, name) == "audio" else 1) for name, rows in inputs.items()}
    if len(set(counts.values())) > 1:
        raise ConfigError(
            f"files of {', '.join(f'{n} items for {name}' for name, n in counts.items())}: the numbers must be the same"
        )
    model = load_model(run)
    model = job.hidden(model, layer) if layer is not None else model
    rows = {
        name: value if _source(data, name) == "audio" else np.repeat(value, parts, axis=0)
        for name, value in inputs.items()
    }
    values = np.asarray(model(rows, training=False), np.float32)
    return values.reshape(len(values) // parts, parts, -1).mean(axis=1)


def _source(data: RecommendationData, name: str) -> str:
    """What a new item's input is made from."""
    settings = data.config.inputs[name]
    if settings.kind == "patches":
        return "audio"
    if isinstance(settings, TextInput) or data.folder.text_model(data.setting(name)).is_file():
        return "text"
    match = _LAYER.fullmatch(data.setting(name))
    return "run" if match and (data.folder.models / match[1] / "model.keras").is_file() else "features"


def _of_other_run(data: RecommendationData, setting: str, paths: list[Path]) -> np.ndarray:
    """Features that are a hidden layer of another run."""
    name, layer = _LAYER.sub(r"\1", setting), _LAYER.sub(r"\2", setting)
    run = Run.open(data.folder.models / name)
    return outputs(run, recommendation_data.reopen_data(run, data_dir=data.folder.root), paths, layer)


def _feature_rows(paths: list[Path], data: RecommendationData, name: str) -> np.ndarray:
    if not paths:
        raise ConfigError(
            f"inputs.{name}: needs a .npy of {data.shapes[name][0]} numbers for each item; none was given"
        )
    rows = []
    for path in paths:
        row = np.asarray(tables.load_matrix(path), np.float32).reshape(-1)
        if row.shape != data.shapes[name] or not np.isfinite(row).all():
            raise DataError(f"{path}: {row.shape[0]} numbers, expected {data.shapes[name][0]} finite ones for {name}")
        rows.append(row)
    return np.stack(rows)


def _text_rows(paths: list[Path], data: RecommendationData, name: str) -> np.ndarray:
    model = texts.load_model(data.folder.text_model(data.setting(name)))
    read = []
    for path in paths:
        try:
            read.append(path.read_text(encoding="utf-8-sig"))
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8 text ({error})") from None
    rows = model.transform(read)
    return np.asarray(rows, np.int32) if isinstance(model, texts.Sequences) else tables.densify(rows)


def text_row(data: RecommendationData, name: str, paths: list[Path]) -> np.ndarray | None:
    """(words,) TF-IDF of new texts, the mean over them; None where there is no text among the files."""
    written = [path for path in paths if path.suffix.lower() in TEXT_SUFFIXES]
    return _text_rows(written, data, name).mean(axis=0) if written else None


def _patch_rows(paths: list[Path], data: RecommendationData, name: str) -> np.ndarray:
    """Patches as tools.patches makes them, standardised as the training set was: (files × count, frames, bands)."""
    spec, mean, deviation = data.patches(name, "train").made_with()
    wanted = AudioSpec(WAVEFORM, sample_rate=spec.sample_rate, dtype="float32")
    cut = [patches.cut(patches.spectrogram(reading.load(path, wanted), spec), spec, path.name) for path in paths]
    return ((np.concatenate(cut) - mean) / deviation).astype(np.float32)
