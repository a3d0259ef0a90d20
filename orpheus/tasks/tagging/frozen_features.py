"""What a frozen network makes of every clip, computed once: the layers behind it learn from that, epoch after epoch."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from orpheus.base import cli
from orpheus.config.tagging import Config
from orpheus.data.batches import epochs as batch_epochs
from orpheus.data.batches.split_records import SplitRecords
from orpheus.data.batches.windows import Windows
from orpheus.learning.engine import inference
from orpheus.learning.engine.job import Job
from orpheus.tasks.tagging.data import TaggingData
from orpheus.tasks.tagging.job import training_windows

log = logging.getLogger(__name__)
LAYERS = ("embedding", "pooled_norm", "pooled")  # where a network can be cut; the first before which nothing is random


def kept(job: Job, data: TaggingData, config: Config) -> Job:
    """The same job, with the frozen network's outputs kept in memory where nothing random stands before them.

    Order of examples, masks of dropout, checkpoints and model.keras are those of the job that computes them in every
    step; what is trained differs by rounding. Memory: 4 bytes times the clips of training and validation times the
    width of the layer.

    Args:
        job: Of `fine_tuning.frozen`.
        data: What it reads.
        config: Of the run.

    Returns:
        The job itself, with a line in the log that says why, where its windows or the network are random, or several
        machines share the clips.
    """
    place = _place(job, config)
    if isinstance(place, str):
        log.info("the frozen network hears every clip again in every epoch: %s", place)
        return job
    return _Kept(job, data, config, place).job()


class _Layer(NamedTuple):
    name: str
    width: int


def _place(job: Job, config: Config) -> _Layer | str:
    """The layer whose outputs can be kept, or the reason why none can."""
    windows = training_windows(config)
    if job.numbers is None:
        return "several machines share them"
    if windows.random:
        return "its windows are drawn anew; model-training.window_random=false takes the middle of each, once"
    if windows.augmented:
        return "augmentation changes its windows"
    model = job.build()
    for layer in sorted((one for one in model.layers if one.name in LAYERS), key=lambda one: LAYERS.index(one.name)):
        if not _random(keras.Model(model.input, layer.output)):
            return _Layer(layer.name, layer.output.shape[-1])
    return "the network itself has dropout, which model.dropout=0 turns off"


def _random(model: keras.Model) -> bool:
    """Whether a part of it draws numbers in training."""
    return any(isinstance(one, keras.layers.Dropout) and one.rate for one in model._flatten_layers(recursive=True))


class _Kept:
    """A job whose model is the end of the network, and the outputs of its beginning."""

    def __init__(self, job: Job, data: TaggingData, config: Config, layer: _Layer):
        self._job, self._layer, self._width = job, layer.name, layer.width
        self._windows, self._size = Windows(config.training.window_length), job.batch_size
        self._records: dict[str, SplitRecords] = {
            side: data.records_of(side) for side in ("train", "valid") if data.split[side]
        }
        self._features: dict[str, np.ndarray] = {}
        self._whole: keras.Model | None = None

    def job(self) -> Job:
        valid = None if self._job.valid is None else self._validation()
        return replace(self._job, build=self._build, train=self._train, valid=valid, share=None, whole=self._network)

    def _build(self) -> keras.Model:
        self._whole, self._features = self._job.build(), {}
        return keras.Model(self._whole.get_layer(self._layer).output, self._whole.output, name=self._whole.name)

    def _network(self, model: keras.Model | None = None) -> keras.Model:
        assert self._whole is not None
        return self._whole

    def _train(self, first_epoch: int) -> tf.data.Dataset:
        features, truth = (tf.constant(array) for array in self._side("train"))
        assert self._job.numbers is not None
        return self._job.numbers(first_epoch).map(lambda rows: (tf.gather(features, rows), tf.gather(truth, rows)))

    def _validation(self) -> tf.data.Dataset:
        """In the batches of the job's own; the features are made when they are first asked for."""

        def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            features, truth = self._side("valid")
            for first in range(0, len(truth), self._size):
                yield features[first : first + self._size], truth[first : first + self._size]

        classes = len(self._records["valid"].targets.classes)
        signature = tuple(tf.TensorSpec((None, width), tf.float32) for width in (self._width, classes))
        count = -(-len(self._records["valid"].rows()) // self._size)
        dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
        return dataset.apply(tf.data.experimental.assert_cardinality(count))

    def _side(self, side: str) -> tuple[np.ndarray, np.ndarray]:
        """(clips, width) outputs of the layer and (clips, classes) annotations, in the order of `SplitRecords.rows`."""
        if side not in self._features:
            whole = self._network()
            run = inference.forward(keras.Model(whole.input, whole.get_layer(self._layer).output))
            batches = batch_epochs.validation(self._records[side], self._windows, batch_size=self._size)
            shown = cli.progress(batches, desc=f"features of {side}", unit="batch", total=len(batches))
            self._features[side] = np.concatenate([run(audio).numpy().astype(np.float32) for audio, _ in shown])
            log.info(
                "%s: %d values of the frozen network for each of %d clips", side, *self._features[side].shape[::-1]
            )
        return self._features[side], self._records[side].truth()
