"""What an experiment's run, or a hidden layer of it, says of a set of its data folder, as files."""

import logging
import os
from pathlib import Path

from orpheus.base import cli
from orpheus.data.items import layout, tables
from orpheus.errors import ConfigError
from orpheus.runs.folder import Run
from orpheus.runs.models import load_model
from orpheus.tasks.recommendation import job
from orpheus.tasks.recommendation.data import reopen_data

log = logging.getLogger(__name__)


def predict(
    run: Run, subset: str = "test", *, layer: str | None = None, data_dir: str | os.PathLike | None = None
) -> list[Path]:
    """Write what a run, or a hidden layer of it, says of a set.

    Args:
        run: Trained.
        subset: ``"train"``, ``"val"`` or ``"test"``.
        layer: Name or index; its output becomes a feature file X_SET_RUN-pred_LAYER_DATASET.npy. None: the last one,
            to predictions/.
        data_dir: Where its data folder is now; where it was if None.

    Returns:
        The matrix and the index of its items.
    """
    data = reopen_data(run, data_dir=data_dir)
    folder = data.folder
    model = load_model(run)
    name, setting = run.folder.name, ""
    if layer is not None:
        if folder.source(subset) != subset:
            raise ConfigError(f"-s {subset}: this folder has no {subset} items of its own; they are in -s train")
        model, setting = job.hidden(model, layer), f"{name}-pred_{layer}"
    # A feature file has a row for each line of its set's index, the drawn val items included.
    ids = folder.items(subset) if layer is not None else getattr(data.splits, subset)
    values = job.outputs(
        model, data.examples(subset, ids=ids), progress=lambda items: cli.progress(items, desc=f"predict {subset}")
    )
    if layer is not None:
        paths = [*tables.save_sets(folder, setting, {subset: values})]
        index = folder.train_data / f"items_index_{subset}_{setting}_{folder.dataset}.tsv"
    else:
        paths = [folder.predictions / f"pred_{subset}_{name}_{folder.dataset}.npy"]
        tables.save_matrix(paths[0], values)
        index = folder.predictions / f"items_index_{subset}_{name}_{folder.dataset}.tsv"
    layout.write_ids(index, ids)
    log.info("%s: %s", paths[0], values.shape)
    return [*paths, index]
