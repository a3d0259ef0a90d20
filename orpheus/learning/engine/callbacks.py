"""Keras callbacks that both loops share: reseeding, checkpoints and their restoring, TensorBoard, arrays, progress."""

import contextlib
import io
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from orpheus.base import files
from orpheus.errors import DataError
from orpheus.learning.engine.job import Job
from orpheus.learning.engine.loop import not_finite
from orpheus.runs.folder import STATE, Run, checkpoint_name
from orpheus.runs.models import load_weights

WEIGHTS = "model.weights.h5"


class EpochSeed(keras.callbacks.Callback):
    """Seed every dropout by (seed, epoch): its state is in no checkpoint, and a resumed run must draw the same masks.

    `whole` is as of `Job`: where only the end of a network is trained, its masks are those of the whole network.
    """

    def __init__(self, seed: int, whole: Callable[[keras.Model], keras.Model] = lambda model: model):
        super().__init__()
        self.seed, self.whole = seed, whole

    def on_epoch_begin(self, epoch, logs=None):
        for index, layer in enumerate(layers(self.whole(self.model))):
            if isinstance(generator := getattr(layer, "seed_generator", None), keras.random.SeedGenerator):
                draw = np.random.default_rng([self.seed, epoch, index]).integers(0, 2**31, 2)
                generator.state.assign(draw.astype(generator.state.dtype))


def layers(model: keras.Model) -> list[keras.layers.Layer]:
    """All layers, those inside layers included, in a stable order."""
    return list(model._flatten_layers(include_self=False, recursive=True))


class Checkpoint(keras.callbacks.Callback):
    """Save weights, optimizer, history and the other callbacks' state after every epoch; restore them at the start.

    A checkpoint is a folder that gets its name when complete, and its state names the checkpoint of the best epoch, which
    is kept: so one rename moves the run on, and wherever it is killed the two fit.
    Put it last, so that what it saves and restores is what the others have made of the epoch.
    Without `writes` it only restores: of several workers, one saves. Its weights are those of `Job.whole`.
    """

    _ATTRIBUTES = ("wait", "best", "best_epoch", "cooldown_counter", "stopped_epoch")

    def __init__(
        self,
        run: Run | None,
        others: Sequence[keras.callbacks.Callback],
        job: Job,
        *,
        writes: bool = True,
    ):
        super().__init__()
        self.whole, self.monitor = job.whole, job.monitor
        self.run, self.others, self.writes = run, list(others), writes
        self.sign = 1.0 if job.mode == "max" else -1.0
        self.history: list[dict[str, float | None]] = []
        self.best, self.best_epoch = -math.inf, None
        self.best_checkpoint: str | None = None
        self.restored: dict | None = None

    def load(self) -> int:
        """Load the last complete checkpoint into the model; returns the number of epochs it has completed (0: none)."""
        checkpoints = self.run.checkpoints() if self.run else []
        if self.run is None or not checkpoints:
            return 0
        epochs, path = checkpoints[-1]
        load_weights(self.whole(self.model), path / WEIGHTS)
        self.restored = self.run.state(path)
        if len(self.restored["callbacks"]) != len(self.others):
            raise DataError(
                f"{path / STATE}: has the state of {len(self.restored['callbacks'])} callbacks, and the run has "
                f"{len(self.others)}; is it another run's?"
            )
        self.history = self.restored["history"]
        self.best_epoch = self.restored["best_epoch"]
        self.best_checkpoint = self.run.best_name(self.restored)
        self.best = self.restored["best"] if self.best_epoch else -math.inf
        if self.writes:
            self._follow(self.run)  # where the process ended between the checkpoint and what follows it
        return epochs

    def on_train_begin(self, logs=None):
        if self.restored is None:
            return
        # Callbacks forget their state in their own on_train_begin, which came before this one.
        for callback, state in zip(self.others, self.restored["callbacks"], strict=True):
            for name in self._ATTRIBUTES:
                if name in state:
                    setattr(callback, name, state[name])

    def on_epoch_end(self, epoch, logs=None):
        if self.run is None or not self.writes:
            return
        numbers = {name: float(value) for name, value in (logs or {}).items()}
        values = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
        self.history.append({"epoch": epoch + 1, **values})
        score = values.get(self.monitor)
        gain = -math.inf if score is None else self.sign * score
        better = gain > self.best
        if better:
            self.best, self.best_epoch = gain, epoch + 1
            self.best_checkpoint = checkpoint_name(epoch + 1)
        path = self.run.start_checkpoint()
        save_weights(self.whole(self.model), path / WEIGHTS)
        files.write_json(path / STATE, self._state())
        self.run.finish_checkpoint(checkpoint_name(epoch + 1))
        self._follow(self.run)

    def _follow(self, run: Run) -> None:
        """Bring what is made of the checkpoints up to date."""
        run.prune_checkpoints()
        run.write("history", self.history)

    def _state(self) -> dict:
        states = []
        for callback in self.others:
            state = {name: getattr(callback, name) for name in self._ATTRIBUTES if hasattr(callback, name)}
            plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in state.items()}
            states.append(
                {n: v for n, v in plain.items() if v is None or (isinstance(v, int | float) and math.isfinite(v))}
            )
        best = self.best if self.best_epoch else None
        return {
            "history": self.history,
            "best": best,
            "best_epoch": self.best_epoch,
            "best_checkpoint": self.best_checkpoint,
            "callbacks": states,
        }


class _Memory(io.BytesIO):
    """Weights on their way to a file: Keras looks at the end of the name, and takes a buffer as well as a path."""

    def __str__(self) -> str:
        return WEIGHTS


def save_weights(model: keras.Model, path: Path) -> None:
    """Write weights and optimizer through memory: HDF5 that meets a full disk itself takes the process down.

    Raises:
        OSError: they cannot be written; nothing is left under that name.
    """
    buffer = _Memory()
    model.save_weights(buffer)
    with files.atomic(path, "wb") as file:
        file.write(buffer.getbuffer())


class Validate(keras.callbacks.Callback):
    """Add values measured on the whole validation to an epoch's logs, with ``val_`` before their names."""

    def __init__(self, measure: Callable[[keras.Model], dict[str, float]]):
        super().__init__()
        self.measure = measure

    def on_epoch_end(self, epoch, logs=None):
        logs.update({f"val_{name}": value for name, value in self.measure(self.model).items()})


class FiniteLoss(keras.callbacks.Callback):
    """Stop `model.fit` at the first step after which the running mean of the loss is not finite."""

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if logs and not math.isfinite(value := float(logs["loss"])):
            raise not_finite(self.epoch, batch, "loss", value)


class Arrays(keras.callbacks.Callback):
    """Per-class areas (epochs, classes) and the last epoch's confusion counts, of the validation where there is one.

    Args:
        metric: The `TagAUC` that training and validation feed; at the end of an epoch it holds the validation.
        paths: Any of ``roc``, ``pr`` and ``confusion`` → .npy file.
        run: Of whom earlier epochs' rows are kept, so that a resumed run writes the whole array.
    """

    def __init__(self, metric, paths: dict[str, Path], run: Run):
        super().__init__()
        self.metric, self.paths, self.folder = metric, paths, run.folder / "arrays"

    def on_epoch_end(self, epoch, logs=None):
        values = self.metric.per_label()
        for curve in ("roc", "pr"):
            kept = self.folder / f"{curve}.npy"
            earlier = np.load(kept)[:epoch] if kept.exists() else np.zeros((0, len(values[curve])), np.float32)
            rows = np.concatenate([earlier, np.asarray(values[curve], np.float32)[None]])
            for path in filter(None, (kept, self.paths.get(curve))):
                _save(path, rows)
        if "confusion" in self.paths:
            _save(self.paths["confusion"], self.metric.confusion())


def _save(path: Path, array: np.ndarray) -> None:
    with files.atomic(path, "wb") as file:
        np.save(file, array)


class Progress(keras.callbacks.Callback):
    """A bar per epoch with loss, ROC, PR, rate and time left, and one line per epoch for those who read logs."""

    def __init__(self, bar: Callable[..., Any], *, epochs: int, steps_per_epoch: int, say: Callable[[str], object]):
        super().__init__()
        self.make_bar, self.epochs, self.steps, self.say = bar, epochs, steps_per_epoch, say
        self.bar: Any = None

    def on_epoch_begin(self, epoch, logs=None):
        self.close()
        self.bar = self.make_bar(total=self.steps, desc=f"epoch {epoch + 1}/{self.epochs}", unit="step", leave=False)
        self.started = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        if logs:
            self.bar.set_postfix_str(_shown(logs), refresh=False)
        self.bar.update()

    def on_epoch_end(self, epoch, logs=None):
        self.close()
        seconds = time.monotonic() - self.started
        left = seconds * (self.epochs - epoch - 1)
        self.say(f"epoch {epoch + 1}/{self.epochs}  {_shown(logs or {})}  {seconds:.0f} s, {left / 60:.1f} min left")

    def on_train_end(self, logs=None):
        self.close()

    def close(self) -> None:
        if self.bar is not None:
            with contextlib.suppress(AttributeError):
                self.bar.close()
            self.bar = None


def _shown(logs: dict) -> str:
    return "  ".join(f"{name} {float(value):.4f}" for name, value in logs.items())
