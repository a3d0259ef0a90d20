"""Scalars for TensorBoard, and the learning rate among them."""

import time
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf


class TensorBoard(keras.callbacks.Callback):
    """Scalars every `update_freq` steps (names with ``batch_``) and per epoch, for training and validation."""

    def __init__(self, folder: Path, *, update_freq: int, batch_size: int, steps_per_epoch: int):
        super().__init__()
        self.folder, self.update_freq = folder, update_freq
        self.batch_size, self.steps_per_epoch = batch_size, steps_per_epoch
        self.writers: dict[str, Any] = {}

    def writer(self, split: str) -> Any:
        """The writer of a folder below the run's, opened when first asked for."""
        if split not in self.writers:
            self.writers[split] = tf.summary.create_file_writer(str(self.folder / split))
        return self.writers[split]

    def _write(self, split: str, step: int, values: dict[str, float]) -> None:
        with self.writer(split).as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(name, value)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch, self.started, self.seen = epoch, time.monotonic(), (time.monotonic(), 0)
        self.trained = None

    def on_train_batch_end(self, batch, logs=None):
        if logs and (batch + 1) % self.update_freq == 0:
            now = time.monotonic()
            rate = (batch + 1 - self.seen[1]) * self.batch_size / max(now - self.seen[0], 1e-9)
            self.seen = (now, batch + 1)
            values = {f"batch_{name}": float(value) for name, value in logs.items()}
            self._write(
                "train", self.epoch * self.steps_per_epoch + batch + 1, {**values, "batch_examples_per_second": rate}
            )
        if batch + 1 == self.steps_per_epoch:
            self.trained = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        logs = {name: float(value) for name, value in (logs or {}).items()}
        rate = self.steps_per_epoch * self.batch_size / max((self.trained or time.monotonic()) - self.started, 1e-9)
        train = {name: value for name, value in logs.items() if not name.startswith("val_")}
        train |= {"learning_rate": learning_rate(self.model), "examples_per_second": rate}
        self._write("train", epoch + 1, train)
        valid = {name.removeprefix("val_"): value for name, value in logs.items() if name.startswith("val_")}
        if valid:
            self._write("validation", epoch + 1, valid)
        for writer in self.writers.values():
            writer.flush()

    def on_train_end(self, logs=None):
        for writer in self.writers.values():
            writer.close()


def learning_rate(model: keras.Model) -> float:
    """Current learning rate, of a schedule too."""
    return float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
