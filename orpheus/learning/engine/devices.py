"""The devices that a training runs on: one, several GPUs, or several machines."""

from collections.abc import Sequence

import tensorflow as tf

from orpheus.errors import ConfigError
from orpheus.learning.engine import multi_worker


def strategy(cuda: Sequence[int] | None = None, kind: str | None = None) -> tf.distribute.Strategy:
    """One device, MirroredStrategy over several GPUs, or MultiWorkerMirroredStrategy over several machines.

    Args:
        cuda: Indices of GPUs; None takes the first one, or the CPU where there is none, and all of them where `kind` is
            for several.
        kind: ``"one-device"``, ``"mirrored"``, ``"multi-worker"`` (to be called before any other TensorFlow), or None:
            mirrored where `cuda` has several.

    Raises:
        ConfigError: an index that names no GPU here, fewer or more of them than the strategy is for, bad TF_CONFIG.
    """
    present = tf.config.list_physical_devices("GPU")
    several = kind in ("mirrored", "multi-worker")
    wanted = list(cuda) if cuda is not None else list(range(len(present) if several else min(1, len(present))))
    if kind == "one-device" and len(wanted) > 1:
        raise ConfigError(f"--strategy one-device with --cuda {' '.join(map(str, wanted))}: give one GPU, or mirrored")
    if kind == "mirrored" and not wanted:
        raise ConfigError("--strategy mirrored: is for several GPUs, and this machine has none; leave it out")
    for index in wanted:
        if not 0 <= index < len(present):
            here = f"GPUs 0 to {len(present) - 1}" if present else "no GPU"
            raise ConfigError(
                f"--cuda {index}: this machine shows TensorFlow {here}; leave --cuda out to train on the CPU"
            )
    if len(set(wanted)) != len(wanted):
        raise ConfigError(f"--cuda {' '.join(map(str, wanted))}: names a GPU twice")
    if not wanted and kind == "multi-worker":
        return multi_worker.connect()
    if not wanted:
        return tf.distribute.get_strategy()
    tf.config.set_visible_devices([present[index] for index in wanted], "GPU")
    for index in wanted:
        tf.config.experimental.set_memory_growth(present[index], True)
    if kind == "multi-worker":
        return multi_worker.connect()
    if len(wanted) == 1:
        return tf.distribute.OneDeviceStrategy("/gpu:0")
    return tf.distribute.MirroredStrategy([f"/gpu:{index}" for index in range(len(wanted))])
