"""A damaged shard is found by the checksums of its records wherever records are read; here it gets its name.

TensorFlow says of a record only at which byte it lies ("corrupted record at 4711"), not in which file. So the folders that are
read in this process are remembered, and a command that ends in that error asks for the shard and its record.
"""

import re
import weakref
from collections.abc import Iterable

import tensorflow as tf

from orpheus.base import cli, storage
from orpheus.data.records import format
from orpheus.errors import DataError

_open: list[weakref.ref[format.Catalogue]] = []


def watch(catalogue: format.Catalogue) -> None:
    """Remember a folder whose records are read from now on."""
    _open[:] = [known for known in _open if known() is not None and known() is not catalogue]
    _open.append(weakref.ref(catalogue))
    if explain not in cli.EXPLAINERS:
        cli.EXPLAINERS.append(explain)


def explain(error: BaseException) -> DataError | None:
    """What to say of an error: shard, record and track, and how to make that shard again; None where it is another one."""
    if not isinstance(error, tf.errors.DataLossError):
        return None
    said = re.search(r"at (\d+)", str(error))
    offset = int(said.group(1)) if said else None
    catalogues = [found for known in _open if (found := known()) is not None]
    likely = [(one, shard) for one in catalogues for shard in _candidates(one, offset)]
    for catalogue, shard in likely + [(one, shard) for one in catalogues for shard in one.shards]:
        if (wrong := _damage(catalogue, shard)) is not None:
            return wrong
    folders = ", ".join(catalogue.folder for catalogue in catalogues) or "records"
    return DataError(f"{folders}: a shard is damaged, or was while it was read ({str(error).splitlines()[0]})")


def _candidates(catalogue: format.Catalogue, offset: int | None) -> Iterable[str]:
    """Shards with a record that begins at a byte."""
    for shard, rows in catalogue.shards.items():
        begin = 0
        for row in rows:
            if begin == offset:
                yield shard
            begin += format.shard_bytes([row.bytes])


def _damage(catalogue: format.Catalogue, shard: str) -> DataError | None:
    """What is wrong with a shard, if anything is."""
    path, rows, number = catalogue.paths([shard])[0], catalogue.shards[shard], 0
    try:
        for _ in tf.data.TFRecordDataset(storage.tensorflow_path(path)).as_numpy_iterator():
            number += 1
    except tf.errors.OpError as error:
        track = f" (track {rows[number].track_id!r})" if number < len(rows) else ""
        return DataError(
            f"{path}: damaged at record {number}{track}, its checksum is wrong ({type(error).__name__}); delete this file and "
            "run tools.preprocess again as before: it makes this shard only. Or copy it again from where it was made"
        )
    return None
