"""Files of TensorBoard's embedding projector, which projector.tensorflow.org reads too."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from orpheus.base import files


def write(
    folder: Path,
    names: Sequence[str],
    matrix: np.ndarray,
    *,
    columns: Mapping[str, Sequence[Any]] | None = None,
    first: str = "tag",
    within: str = "",
) -> None:
    """Write projector_config.pbtxt, and metadata.tsv and vectors.tsv beside it or in a folder beside it.

    Args:
        folder: What ``tensorboard --logdir`` is given; created when missing.
        names: One per row.
        matrix: (names, d).
        columns: More of each name, for colours: title → values.
        first: Title of the names' column.
        within: Folder beside the config that takes the two tables.
    """
    columns = dict(columns or {})
    tables = folder / within
    with files.atomic(tables / "metadata.tsv") as file:
        file.write("\t".join([first, *columns]) + "\n")
        for name, *cells in zip(names, *columns.values(), strict=True):
            # A cell is one line without tabs, and the projector takes no empty name.
            file.write("\t".join([_cell(name) or "?", *map(_cell, cells)]) + "\n")
    with files.atomic(tables / "vectors.tsv") as file:
        for row in np.asarray(matrix):
            file.write("\t".join(f"{value:.6g}" for value in row) + "\n")
    prefix = f"{within}/" if within else ""
    with files.atomic(folder / "projector_config.pbtxt") as file:
        file.write(
            f'embeddings {{\n  tensor_name: "{first}s"\n  tensor_path: "{prefix}vectors.tsv"\n'
            f'  metadata_path: "{prefix}metadata.tsv"\n}}\n'
        )


def _cell(value: Any) -> str:
    return " ".join(str(value).split())
