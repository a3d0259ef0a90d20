"""Loads the network of a run, and weights into one; a file that is damaged, foreign or hostile is one line."""

import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from orpheus.base import archives, files, hdf5, keras_registration
from orpheus.base.schema import Schema, check
from orpheus.errors import DataError
from orpheus.runs.folder import Run

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_SIZES = ("units", "filters", "input_dim", "output_dim")  # of layers: each takes at least as many weights


class _ModelConfig(Schema):
    """What config.json of a .keras file holds at its top."""

    class_name: str
    config: dict[str, Any]


def load_model(run: Run) -> keras.Model:
    """model.keras of a run, not compiled.

    Raises:
        DataError: the run was interrupted before it had one, or it is not a whole Keras model of registered classes.
    """
    path = run.model_path
    if not path.is_file():
        raise DataError(f"{path}: not there; finish the training with python -m orpheus.train --resume {run.folder}")
    _check_archive(path)
    keras_registration.register()
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras builds what the file describes, and so any error of any class may come
        raise DataError(
            f"{path}: cannot be loaded as a Keras model ({hdf5.reason(error)}); copy it again from where it was trained"
        ) from error


def load_weights(model: keras.Model, path: Path) -> None:
    """Load a checkpoint's weights, and the state of the optimizer where the model has one.

    Raises:
        DataError: missing, damaged, or of another model or optimizer.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; is the checkpoint whole?")
    with hdf5.opened(path, path):  # refuses what points to other files
        pass
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            model.load_weights(path)
    except Exception as error:  # as in `load_model`
        raise DataError(f"{path}: not the weights of this model ({hdf5.reason(error)})") from error
    if skipped := [str(one.message) for one in said if "Skipping variable loading" in str(one.message)]:
        raise DataError(f"{path}: not the weights of this model ({skipped[0]})")


def _check_archive(path: Path) -> None:
    """Refuse a .keras file that lacks a part, points out of itself, or asks for more memory than its weights fill."""
    with archives.opened(path) as archive:
        names = set(archive.namelist())
        if lacking := [name for name in (_CONFIG, _WEIGHTS) if name not in names]:
            raise DataError(f"{path}: no {' and no '.join(lacking)} in it; not a whole Keras model, copy it again")
        if more := sorted(names - {_CONFIG, _METADATA, _WEIGHTS}):
            raise DataError(f"{path}: holds {more[0]!r}, which no model of orpheus does; refused")
        source = f"{path}: {_CONFIG}"
        config = files.parse_json(archive.read(_CONFIG).decode("utf-8"), source)
        with hdf5.opened(io.BytesIO(archive.read(_WEIGHTS)), f"{path}: {_WEIGHTS}") as weights:
            total = hdf5.check(weights, path)
    check(_ModelConfig, config, source)
    for key, size in _sizes(config):
        if size > max(total, 1):
            raise DataError(f"{source}: a layer of {key} {size}, and the weights are {total} numbers; copy it again")


def _sizes(value: Any) -> Iterator[tuple[str, int]]:
    """Every size of a layer in a model's config."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if isinstance(value, dict):
        yield from ((key, value[key]) for key in _SIZES if isinstance(value.get(key), int))
    for one in inner:
        yield from _sizes(one)
