"""TensorBoard beyond scalars: histograms, the config as text and as hparams, the projector, per-class PR as a picture.

Where things are in a run folder, whose parent is what ``tensorboard --logdir`` is given: config, hparams and projector in
the folder itself, so that hparams finds the run's scalars below it; weights under train/, what concerns classes under
validation/ (train/ without one). Everything is bounded: at most `MAX_WEIGHTS` histograms of `MAX_SAMPLES` values and one
picture of `MAX_BARS` classes per epoch, in at most `MAX_EPOCHS` epochs.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from orpheus.learning.tensorboard import projector
from orpheus.learning.tensorboard.scalars import TensorBoard
from orpheus.runs.folder import Run

MAX_WEIGHTS, MAX_SAMPLES, MAX_BARS, MAX_EPOCHS = 60, 50_000, 60, 100
MAX_ROWS, MAX_COLUMNS, MAX_TEXT = 2_000, 512, 20_000


class Dashboard(TensorBoard):
    """Scalars, and what else TensorBoard can show of a run.

    Args:
        run: Its folder; config.json, run.json and classes.json are shown where they are there.
        metric: A metric with ``per_label()`` (`TagAUC`), or None where there are no labels.
        vectors: model → (names, (names, d) array) for the projector; None: the output layer's rows, where classes.json
            names its units.
        epochs: In all.
        validated: Whether `metric` holds the validation at the end of an epoch.
        update_freq, batch_size, steps_per_epoch: As `TensorBoard`.
    """

    def __init__(
        self,
        run: Run,
        *,
        metric: Any = None,
        vectors: Callable[[keras.Model], tuple[Sequence[str], np.ndarray]] | None = None,
        epochs: int,
        validated: bool,
        update_freq: int,
        batch_size: int,
        steps_per_epoch: int,
    ):
        super().__init__(run.folder, update_freq=update_freq, batch_size=batch_size, steps_per_epoch=steps_per_epoch)
        self.run, self.metric, self.vectors = run, metric, vectors
        self.every = -(-epochs // MAX_EPOCHS)
        self.split = "validation" if validated else "train"
        self.classes = list(run.class_names())

    def _read(self, name: str) -> dict[str, Any]:
        return self.run.read(name) if (self.folder / f"{name}.json").is_file() else {}

    def on_train_begin(self, logs=None):
        from tensorboard.plugins.hparams import api

        settings, about = self._read("config"), self._read("run")
        if not settings:
            return
        with self.writer("").as_default(step=0):
            for name, value in (("config", settings), ("run", about), ("classes", self.classes)):
                if value:
                    tf.summary.text(name, as_text(value))
            values = hparams({**settings, **about})
            tf.summary.experimental.write_raw_pb(api.hparams_pb(values, trial_id=self.folder.name).SerializeToString())

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every == 0 or epoch == 0:
            with self.writer("train").as_default(step=epoch + 1):
                for variable in self.model.trainable_variables[:MAX_WEIGHTS]:
                    histogram(f"weights/{variable.path}", keras.ops.convert_to_numpy(variable))
            if self.metric is not None:
                self._show_classes(epoch + 1)
            self._project()
        super().on_epoch_end(epoch, logs)

    def _show_classes(self, epoch: int) -> None:
        values = self.metric.per_label()
        with self.writer(self.split).as_default(step=epoch):
            for curve in ("pr", "roc"):
                histogram(f"per_class/{curve.upper()}-AUC", values[curve][np.isfinite(values[curve])])
            if len(self.classes) == len(values["pr"]):
                chance = self.metric.prevalence()
                tf.summary.image("per_class/PR", bars(self.classes, values["pr"], chance, f"epoch {epoch}")[None])

    def _project(self) -> None:
        """Overwrite the projector's files: the newest epoch's vectors."""
        columns: dict[str, list] = {}
        matrix: np.ndarray | None
        if self.vectors is not None:
            names, matrix = self.vectors(self.model)
        else:
            names, matrix = self.classes, output_rows(self.model, len(self.classes))
            if self.metric is not None and len(names) > 1:
                columns = {f"{k.upper()}-AUC": np.round(v, 4).tolist() for k, v in self.metric.per_label().items()}
        if matrix is None or len(names) < 2:
            return
        matrix = np.asarray(matrix)[:MAX_ROWS]
        if matrix.shape[1] > MAX_COLUMNS:  # rotated to where most of the variance is; distances stay nearly the same
            u, s, _ = np.linalg.svd(matrix - matrix.mean(axis=0), full_matrices=False)
            matrix = (u * s)[:, :MAX_COLUMNS]
        projector.write(
            self.folder,
            names[:MAX_ROWS],
            matrix,
            columns={k: v[:MAX_ROWS] for k, v in columns.items()},
            within="projector",
        )

    def on_train_end(self, logs=None):
        if "" in self.writers:
            from tensorboard.plugins.hparams import api_pb2, summary

            with self.writer("").as_default(step=0):
                ended = summary.session_end_pb(api_pb2.STATUS_SUCCESS)
                tf.summary.experimental.write_raw_pb(ended.SerializeToString())
        super().on_train_end(logs)


def histogram(name: str, values: np.ndarray) -> None:
    """A histogram of an array under the default writer; of large ones an even sample, of empty ones none."""
    from tensorboard.plugins.histogram import summary_v2

    flat = np.ravel(values)
    if len(flat) and np.isfinite(flat).all():
        # Computed here: TensorFlow's own takes several milliseconds each when run eagerly.
        proto = summary_v2.histogram_pb(name, flat[:: -(-len(flat) // MAX_SAMPLES)])
        tf.summary.experimental.write_raw_pb(proto.SerializeToString())


def as_text(value: Any) -> str:
    """JSON as a Markdown code block, cut to `MAX_TEXT` characters."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    text = text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}\n… ({len(text):,} characters)"
    return "\n".join(f"    {line}" for line in text.splitlines())


def hparams(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """What a config and run.json say in numbers and words, flat; lists as text, folders, hashes and nulls left out."""
    skipped = {"version", "tfrecords_dir", "data_dir", "log_dir", "split_hash", "tag_names", "shapes", "hash"}
    found: dict[str, Any] = {}
    for key, value in values.items():
        if key in skipped or value is None or (not prefix and key == "split"):
            continue
        if isinstance(value, dict):
            found |= hparams(value, f"{prefix}{key}.")
        elif isinstance(value, bool | int | float | str):
            found[prefix + key] = value
        elif isinstance(value, list | tuple) and value:
            found[prefix + key] = json.dumps(value, ensure_ascii=False)[:200]
    return found


def output_rows(model: keras.Model, classes: int) -> np.ndarray | None:
    """(classes, d) weights of the last dense layer where it has a unit per class, else None."""
    for layer in reversed(model.layers):
        if isinstance(layer, keras.layers.Dense):
            return keras.ops.convert_to_numpy(layer.kernel).T if layer.units == classes else None
    return None


def bars(names: Sequence[str], values: np.ndarray, chance: np.ndarray, title: str) -> np.ndarray:
    """Per-class PR-AUC as horizontal bars, best first, with each class's share of positives as what chance gives.

    Args:
        names: Of the classes; of more than `MAX_BARS` the best and the worst halves of that are shown.
        values: (classes,), nan where there is none.
        chance: (classes,).
        title: Above.

    Returns:
        (height, width, 3) uint8.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    order = [i for i in np.argsort(-np.nan_to_num(values, nan=-1.0), kind="stable") if np.isfinite(values[i])]
    middle = len(order) > MAX_BARS
    if middle:
        order = order[: MAX_BARS // 2] + order[-(MAX_BARS // 2) :]
    place = np.arange(len(order))
    height = 0.9 + 0.19 * max(len(order), 1)
    figure = Figure(figsize=(6.4, height), dpi=80)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0.3, 0.5 / height, 0.66, 1 - 0.9 / height))
    axes.barh(place, values[order], height=0.75, color="#3b6ea5")
    axes.plot(chance[order], place, "|", color="#d1495b", markersize=8, markeredgewidth=1.5, label="chance")
    axes.set_yticks(place, [str(names[i])[:28].replace("$", r"\$") for i in order], fontsize=8)
    axes.set(xlim=(0, 1), ylim=(max(len(order), 1) - 0.5, -0.5), xlabel="PR-AUC")
    axes.tick_params(axis="x", labelsize=8)
    mean = np.nanmean(values) if len(order) else float("nan")
    more = f", best and worst {MAX_BARS // 2}" if middle else ""
    axes.set_title(f"{title}: mean {mean:.3f} of {int(np.isfinite(values).sum())} classes{more}", fontsize=9)
    if middle:
        axes.axhline(MAX_BARS // 2 - 0.5, color="gray", linestyle=":", linewidth=1)
    if order:
        axes.legend(fontsize=7, loc="lower right")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
