"""The training engine: a Job and a Run in, a trained run folder out; by the custom loop or by `model.fit`."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from orpheus.config import Training
from orpheus.errors import ConfigError
from orpheus.learning import callbacks, dashboard, loop
from orpheus.learning.job import Job
from orpheus.learning.schedules import Cyclical, OneCycle
from orpheus.run import Run

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """How to run the engine.

    Attributes:
        epochs: In all, those before a resume included.
        built_in: Use `model.fit` instead of the custom loop.
        update_freq: Steps between logs.
        jit: XLA around forward and backward pass.
        mixed_precision: ``"bfloat16"``, ``"float16"`` (with loss scaling) or None.
        array_paths: Files for per-class arrays: ``roc``, ``pr``, ``confusion``.
        bar: Makes a progress bar (tqdm's arguments); None for none.
    """

    epochs: int
    built_in: bool = False
    update_freq: int = 10
    jit: bool = False
    mixed_precision: str | None = None
    array_paths: dict[str, Path] = field(default_factory=dict)
    bar: Callable[..., Any] | None = None


def strategy(cuda: Sequence[int] | None = None) -> tf.distribute.Strategy:
    """One device, or MirroredStrategy over several GPUs.

    Args:
        cuda: Indices of GPUs; None takes the first one, or the CPU where there is none.

    Raises:
        ConfigError: an index that names no GPU here.
    """
    present = tf.config.list_physical_devices("GPU")
    wanted = list(cuda) if cuda is not None else list(range(min(1, len(present))))
    for index in wanted:
        if not 0 <= index < len(present):
            here = f"GPUs 0 to {len(present) - 1}" if present else "no GPU"
            raise ConfigError(
                f"--cuda {index}: this machine shows TensorFlow {here}; leave --cuda out to train on the CPU"
            )
    if len(set(wanted)) != len(wanted):
        raise ConfigError(f"--cuda {' '.join(map(str, wanted))}: names a GPU twice")
    if not wanted:
        return tf.distribute.get_strategy()
    tf.config.set_visible_devices([present[index] for index in wanted], "GPU")
    for index in wanted:
        tf.config.experimental.set_memory_growth(present[index], True)
    if len(wanted) == 1:
        return tf.distribute.OneDeviceStrategy("/gpu:0")
    return tf.distribute.MirroredStrategy([f"/gpu:{index}" for index in range(len(wanted))])


def optimizer(settings: Training, *, steps_per_epoch: int, epochs: int) -> keras.optimizers.Optimizer:
    """The optimizer of a config, with its learning-rate schedule.

    Raises:
        ConfigError: Keras has no such optimizer, or it takes no such argument.
    """
    wanted = settings.optimizer
    names = {n.lower(): n for n in dir(keras.optimizers) if _is_optimizer(getattr(keras.optimizers, n))}
    if wanted.name.lower() not in names:
        raise ConfigError(
            f"model-training.optimizer.name={wanted.name!r}: Keras has {', '.join(sorted(names.values()))}"
        )
    rate: Any = wanted.learning_rate
    maximum = wanted.max_learning_rate
    kind = settings.schedule or ("cyclical" if maximum else "constant")
    if maximum is not None and kind == "cyclical":
        rate = Cyclical(rate, maximum, settings.iterations or 4 * steps_per_epoch)
    elif maximum is not None and kind == "one-cycle":
        rate = OneCycle(maximum, max(2, epochs * steps_per_epoch), start_divisor=maximum / rate)
    make = getattr(keras.optimizers, names[wanted.name.lower()])
    try:
        return make(learning_rate=rate, **(wanted.model_extra or {}))
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"model-training.optimizer: {names[wanted.name.lower()]} does not take this ({error})"
        ) from None


def _is_optimizer(candidate: Any) -> bool:
    wrappers = (keras.optimizers.Optimizer, keras.optimizers.LossScaleOptimizer)
    return (
        isinstance(candidate, type) and issubclass(candidate, keras.optimizers.Optimizer) and candidate not in wrappers
    )


def watchers(settings: Training, job: Job) -> list[keras.callbacks.Callback]:
    """Early stopping and falling learning rate as the config asks; null and 0 are off.

    Raises:
        ConfigError: they watch the validation and there is none; reduceLRoP with a schedule.
    """
    found: list[keras.callbacks.Callback] = []
    if settings.reduceLRoP_patience and settings.reduceLRoP_factor:
        if settings.schedule not in (None, "constant") or settings.optimizer.max_learning_rate:
            raise ConfigError(
                "model-training.reduceLRoP_patience: the learning rate follows a schedule; set it to null"
            )
        found.append(
            keras.callbacks.ReduceLROnPlateau(
                job.monitor,
                mode=job.mode,
                patience=settings.reduceLRoP_patience,
                factor=settings.reduceLRoP_factor,
                min_delta=settings.reduceLRoP_min_delta or 0.0,
                min_lr=settings.reduceLRoP_min_lr or 0.0,
            )
        )
    if settings.early_stop_patience:
        found.append(
            keras.callbacks.EarlyStopping(
                job.monitor,
                mode=job.mode,
                patience=settings.early_stop_patience,
                min_delta=settings.early_stop_min_delta or 0.0,
            )
        )
    if found and job.valid is None:
        raise ConfigError("model-training: early_stop_* and reduceLRoP_* watch the validation, and split leaves none")
    return found


def check(job: Job, settings: Training, options: Options, on: tf.distribute.Strategy) -> None:
    """Refuse what cannot be trained, before a run folder is made.

    Raises:
        ConfigError: an optimizer that Keras has not, callbacks that watch a validation that is not there, a batch that
            the replicas cannot share equally, XLA with synchronised batch normalisation.
    """
    job.optimizer()
    watchers(settings, job)
    replicas = on.num_replicas_in_sync
    if job.batch_size % replicas:
        raise ConfigError(f"model-training.batch_size={job.batch_size}: must be a multiple of the {replicas} replicas")
    if options.jit and replicas > 1:
        raise ConfigError(
            "model-training.jit with several GPUs: TensorFlow cannot compile synchronised batch normalisation; "
            "turn jit off, or train on one GPU"
        )


def prepare(job: Job, on: tf.distribute.Strategy, options: Options) -> tuple[keras.Model, list[keras.metrics.Metric]]:
    """The model of a job, compiled and with a built optimizer, and its metrics, under the strategy's scope."""
    policy = f"mixed_{options.mixed_precision}" if options.mixed_precision else "float32"
    keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(job.seed)
    with on.scope():
        model = job.build()
        metrics = list(job.metrics())
        best = job.optimizer()
        if options.mixed_precision == "float16":
            best = keras.optimizers.LossScaleOptimizer(best)
        # With "auto" Keras would compile fit's step by XLA on its own account and the two loops would differ.
        model.compile(best, job.loss, metrics=metrics, jit_compile=options.jit)
        best.build(model.trainable_variables)
    return model, metrics


def train(job: Job, run: Run, settings: Training, options: Options, on: tf.distribute.Strategy) -> keras.Model:
    """Train a run from its last checkpoint, or from the start, to `options.epochs`; writes model.keras.

    Args:
        job: What to train.
        run: Its folder; checkpoints in it are resumed from.
        settings: Config section for early stopping and learning rate.
        options: How.
        on: Strategy; `job.build` is called under its scope.

    Returns:
        The model with the best epoch's weights by `job.monitor` (the last one's without validation), as in model.keras.

    Raises:
        KeyboardInterrupt: after saving, when interrupted.
        DataError: the loss is not finite.
    """
    model, metrics = prepare(job, on, options)
    others = watchers(settings, job)
    checkpoint = callbacks.Checkpoint(run, others, monitor=job.monitor, mode=job.mode)
    checkpoint.set_model(model)
    first_epoch = checkpoint.load()
    if first_epoch:
        log.info("resuming after epoch %d of %d", first_epoch, options.epochs)
    steps = job.steps_per_epoch
    hooks: list[keras.callbacks.Callback] = [callbacks.EpochSeed(job.seed)]
    if options.built_in:
        hooks.append(callbacks.FiniteLoss())
    hooks += others
    auc = next((metric for metric in metrics if hasattr(metric, "per_label")), None)
    hooks += _tensorboard(job, run, settings, options, on, auc)
    if auc is not None:
        hooks.append(callbacks.Arrays(auc, options.array_paths, run))
    if options.bar is not None:
        hooks.append(callbacks.Progress(options.bar, epochs=options.epochs, steps_per_epoch=steps, say=log.info))
    hooks.append(checkpoint)
    if first_epoch < options.epochs and not _had_stopped(others, checkpoint):
        try:
            if options.built_in:
                model.fit(
                    job.train(first_epoch),
                    steps_per_epoch=steps,
                    initial_epoch=first_epoch,
                    epochs=options.epochs,
                    validation_data=job.valid,
                    callbacks=hooks,
                    verbose=0,
                )
            else:
                loop.train(
                    job,
                    model,
                    metrics,
                    on,
                    hooks,
                    first_epoch=first_epoch,
                    epochs=options.epochs,
                    update_freq=options.update_freq,
                    jit=options.jit,
                )
        except KeyboardInterrupt:
            _save(model, run)
            raise
        finally:
            for hook in hooks:
                if isinstance(hook, callbacks.Progress):
                    hook.close()
    _save(model, run)
    return model


def _tensorboard(
    job: Job, run: Run, settings: Training, options: Options, on: tf.distribute.Strategy, auc: Any
) -> list[keras.callbacks.Callback]:
    """What writes TensorBoard's files; of several workers, one does."""
    if settings.tensorboard == "none" or not on.extended.should_save_summary:
        return []
    freq, batch_size, steps = options.update_freq, job.batch_size, job.steps_per_epoch
    if settings.tensorboard == "scalars":
        return [callbacks.TensorBoard(run.folder, update_freq=freq, batch_size=batch_size, steps_per_epoch=steps)]
    return [
        dashboard.Dashboard(
            run, metric=auc, vectors=job.vectors, epochs=options.epochs, validated=job.valid is not None,
            update_freq=freq, batch_size=batch_size, steps_per_epoch=steps,
        )
    ]  # fmt: skip


def _had_stopped(others: Sequence[keras.callbacks.Callback], checkpoint: callbacks.Checkpoint) -> bool:
    """Whether the run that is being resumed had already ended by early stopping."""
    states = (checkpoint.restored or {}).get("callbacks", [])
    return any(
        isinstance(callback, keras.callbacks.EarlyStopping) and state.get("stopped_epoch", 0) > 0
        for callback, state in zip(others, states, strict=False)
    )


def _save(model: keras.Model, run: Run) -> None:
    """Write model.keras: the best epoch's weights, else the last complete epoch's, else those at hand."""
    best = run.folder / "checkpoints" / "best" / callbacks.WEIGHTS
    complete = run.checkpoints()
    if best.is_file():
        model.load_weights(best)
    elif complete:
        model.load_weights(complete[-1][1] / callbacks.WEIGHTS)
    temporary = run.model_path.with_name(".model.keras")
    model.save(temporary, include_optimizer=False)
    temporary.replace(run.model_path)
