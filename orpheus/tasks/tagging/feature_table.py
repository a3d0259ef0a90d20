"""What a hidden layer of a tagger says of audio files, as a table: a row per file."""

import argparse
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from orpheus.base import cli
from orpheus.data.audio.finding import printable
from orpheus.data.audio.unusable import Memory
from orpheus.data.items import layout, tables
from orpheus.errors import ConfigError, DataError
from orpheus.tasks.tagging.tagger import Tagger

log = logging.getLogger(__name__)


def write(tagger: Tagger, paths: Sequence[Path], memory: Memory, arguments: argparse.Namespace) -> int:
    """Write the means over windows of a layer's output.

    Args:
        tagger: Whose layer.
        paths: Audio files.
        memory: Of those that were unusable before.
        arguments: Of orpheus.predict: layer, out, damaged, hop_seconds, batch_size.

    Returns:
        How many files could not be read; these are logged.

    Raises:
        ConfigError: there is no such layer, or its output is no vector.
        DataError: no file could be read.
    """
    if len(shape := tagger.layer(arguments.layer).output.shape) != 2:
        raise ConfigError(f"-l {arguments.layer}: gives {shape[1:]} a window, no vector; pooled and embedding give one")
    rows: dict[str, np.ndarray] = {}
    options = {"damaged": arguments.damaged, "hop_seconds": arguments.hop_seconds, "batch_size": arguments.batch_size}
    found = memory.through(paths, lambda some: tagger.features_of_files(some, layer=arguments.layer, **options))
    for path, result in cli.progress(found, desc="features", unit="file", total=len(paths)):
        if isinstance(result, DataError):
            log.error("%s", printable(str(result)))
        else:
            rows[os.fspath(path)] = result.mean(axis=0)
    if not rows:
        raise DataError(f"none of {len(paths)} files could be read; {arguments.out} was not written")
    names = [printable(Path(path).stem) for path in rows]
    ids = names if len(set(names)) == len(names) else list(map(printable, rows))
    table = tables.Table(str(arguments.out), tuple(ids), np.stack(list(rows.values())))
    if arguments.out.suffix == ".npz":
        tables.write(arguments.out, table)
    else:
        layout.write_ids(arguments.out.with_suffix(".tsv"), table.ids)
        tables.save_matrix(arguments.out, table.matrix)
    print(f"{arguments.out}: {len(ids)} files, {table.dim} values each")
    return len(paths) - len(rows)
