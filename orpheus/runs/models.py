"""Loads the network of a run."""

import keras

from orpheus.base import keras_registration
from orpheus.errors import DataError
from orpheus.runs.folder import Run


def load_model(run: Run) -> keras.Model:
    """model.keras of a run, not compiled.

    Raises:
        DataError: the run was interrupted before it had one.
    """
    if not run.model_path.is_file():
        raise DataError(
            f"{run.model_path}: not there; finish the training with python -m orpheus.train --resume {run.folder}"
        )
    keras_registration.register()
    return keras.saving.load_model(run.model_path, compile=False)
