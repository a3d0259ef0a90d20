"""The training engine: a Job and a Run in, a trained run folder out; by the custom loop or by `model.fit`."""

import logging
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from orpheus.base import files
from orpheus.config.sections import Training
from orpheus.errors import ConfigError
from orpheus.learning.engine import callbacks, loop, multi_worker
from orpheus.learning.engine.job import Job
from orpheus.learning.engine.optimizers import AdamL2
from orpheus.learning.engine.schedules import Cyclical, OneCycle
from orpheus.learning.tensorboard import dashboard, scalars
from orpheus.runs.folder import Run
from orpheus.runs.models import load_weights

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
        micro_batches: Parts in which a replica passes its share of a batch.
        steps_per_execution: Most steps in one call of the graph.
        data_service: ``grpc://host:port`` of a tf.data service that makes the training batches, or None.
        array_paths: Files for per-class arrays: ``roc``, ``pr``, ``confusion``.
        bar: Makes a progress bar (tqdm's arguments); None for none.
        say: Takes a line per epoch, where there is a bar; None: the log.
    """

    epochs: int
    built_in: bool = False
    update_freq: int = 10
    jit: bool = False
    mixed_precision: str | None = None
    micro_batches: int = 1
    steps_per_execution: int = 1
    data_service: str | None = None
    array_paths: dict[str, Path] = field(default_factory=dict)
    bar: Callable[..., Any] | None = None
    say: Callable[[str], object] | None = None


def optimizer(settings: Training, *, steps_per_epoch: int, epochs: int) -> keras.optimizers.Optimizer:
    """The optimizer of a config, with its learning-rate schedule.

    Raises:
        ConfigError: there is no such optimizer, or it takes no such argument.
    """
    wanted = settings.optimizer
    makers = {n: getattr(keras.optimizers, n) for n in dir(keras.optimizers)} | {"AdamL2": AdamL2}
    names = {n.lower(): n for n, maker in makers.items() if _is_optimizer(maker)}
    if wanted.name.lower() not in names:
        raise ConfigError(
            f"model-training.optimizer.name={wanted.name!r}: there are {', '.join(sorted(names.values()))}"
        )
    rate: Any = wanted.learning_rate
    maximum, kind = wanted.max_learning_rate, _schedule(settings)
    if maximum is not None and kind == "cyclical":
        rate = Cyclical(rate, maximum, settings.iterations or 4 * steps_per_epoch)
    elif maximum is not None and kind == "one-cycle":
        rate = OneCycle(maximum, max(2, epochs * steps_per_epoch), start_divisor=maximum / rate)
    make = makers[names[wanted.name.lower()]]
    try:
        return make(learning_rate=rate, **(wanted.model_extra or {}))
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"model-training.optimizer: {names[wanted.name.lower()]} does not take this ({error})"
        ) from None


def _schedule(settings: Training) -> str:
    return settings.schedule or ("cyclical" if settings.optimizer.max_learning_rate else "constant")


def check_epochs(settings: Training, *, before: int, now: int) -> None:
    """Refuse another number of epochs for a run whose learning rate was laid out over the one it has.

    Raises:
        ConfigError: the schedule is one-cycle, whose steps so far would have been others.
    """
    if now != before and settings.optimizer.max_learning_rate and _schedule(settings) == "one-cycle":
        raise ConfigError(
            f"--epochs {now} with --resume: model-training.schedule=one-cycle was laid out over {before} epochs, and its "
            f"learning rates so far would have been others; leave --epochs out, or train a new run of {now} epochs"
        )


def _is_optimizer(candidate: Any) -> bool:
    wrappers = (keras.optimizers.Optimizer, keras.optimizers.LossScaleOptimizer)
    return (
        isinstance(candidate, type) and issubclass(candidate, keras.optimizers.Optimizer) and candidate not in wrappers
    )


def monitoring_callbacks(settings: Training, job: Job) -> list[keras.callbacks.Callback]:
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
    if found and not job.validated:
        raise ConfigError("model-training: early_stop_* and reduceLRoP_* watch the validation, and split leaves none")
    return found


def check(job: Job, settings: Training, options: Options, on: tf.distribute.Strategy) -> None:
    """Refuse what cannot be trained, before a run folder is made.

    Raises:
        ConfigError: an optimizer that Keras has not, callbacks that watch a validation that is not there, a batch that
            the replicas and micro-batches cannot share equally, and what TensorFlow or Keras cannot combine: XLA with
            synchronised batch normalisation or `model.fit` on several replicas, `model.fit` with micro-batches or
            several steps in one execution, with a data service or on several machines.
    """
    job.optimizer()
    monitoring_callbacks(settings, job)
    replicas, parts = on.num_replicas_in_sync, options.micro_batches
    if job.batch_size % replicas:
        raise ConfigError(f"model-training.batch_size={job.batch_size}: must be a multiple of the {replicas} replicas")
    if job.batch_size % (replicas * parts):
        raise ConfigError(
            f"model-training.micro_batches={parts}: each of the {replicas} replicas has "
            f"{job.batch_size // replicas} examples of a batch, which do not split into {parts} equal parts"
        )
    if options.built_in:
        for key, value in (("micro_batches", parts), ("steps_per_execution", options.steps_per_execution)):
            if value > 1:
                raise ConfigError(f"model-training.{key}={value}: model.fit has no such thing; leave --built-in out")
    if replicas > 1 and "gradient_accumulation_steps" in (settings.optimizer.model_extra or {}):
        raise ConfigError(
            "model-training.optimizer.gradient_accumulation_steps: Keras cannot accumulate over several replicas; "
            "use model-training.micro_batches"
        )
    if multi_worker.member(on).workers > 1 and options.built_in:
        raise ConfigError(
            "--strategy multi-worker with --built-in: model.fit cannot train on several machines with this Keras "
            "(keras#20585); leave --built-in out"
        )
    if options.data_service and options.built_in:
        raise ConfigError("--data-service with --built-in: only the custom loop reads from it; leave --built-in out")
    if options.data_service:
        multi_worker.check_service(options.data_service)
    if options.jit and replicas > 1:
        _check_jit(job, options)


def _check_jit(job: Job, options: Options) -> None:
    """Refuse what XLA cannot compile on several replicas."""
    if options.built_in:
        raise ConfigError(
            "model-training.jit with --built-in on several GPUs: model.fit compiles the collective operations of the replicas too, "
            "which XLA cannot; leave --built-in out, or turn jit off"
        )
    for layer in callbacks.layers(job.build()):
        if getattr(layer, "synchronized", False):
            raise ConfigError(
                f"model-training.jit with several GPUs: XLA cannot compile synchronised batch normalisation ({layer.name}); "
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
        if (whole := job.whole(model)) is not model:  # checkpoints have its weights and the optimizer
            whole.compile(best)
    return model, metrics


def train(job: Job, run: Run | None, settings: Training, options: Options, on: tf.distribute.Strategy) -> keras.Model:
    """Train a run from its last checkpoint, or from the start, to `options.epochs`; writes model.keras.

    Args:
        job: What to train.
        run: Its folder; checkpoints in it are resumed from. Of several workers the chief alone writes to it, and the
            others have None for a new run.
        settings: Config section for early stopping and learning rate.
        options: How.
        on: Strategy; `job.build` is called under its scope.

    Returns:
        The model with the best epoch's weights by `job.monitor` (the last one's without validation), as in model.keras;
        on workers other than the chief as it was after the last step.

    Raises:
        KeyboardInterrupt: after saving, when interrupted.
        DataError: the loss is not finite, another worker is gone, or an example cannot be read (`Job.failure`).
    """
    try:
        with multi_worker.watched(on):
            return _train(job, run, settings, options, on)
    except tf.errors.OpError:
        if (cause := job.failure()) is not None:
            raise cause from None
        raise


def _train(job: Job, run: Run | None, settings: Training, options: Options, on: tf.distribute.Strategy) -> keras.Model:
    model, metrics = prepare(job, on, options)
    shown = multi_worker.local_copies(job, metrics, on)
    mine = run if multi_worker.member(on).index == 0 else None
    others = monitoring_callbacks(settings, job)
    checkpoint = callbacks.Checkpoint(run, others, job, writes=mine is not None)
    checkpoint.set_model(model)
    first_epoch = checkpoint.load()
    if first_epoch:
        log.info("resuming after epoch %d of %d", first_epoch, options.epochs)
    multi_worker.agree(
        on,
        {
            "epochs completed": first_epoch,
            "epochs": options.epochs,
            "steps per epoch": job.steps_per_epoch,
            "checksum of the weights": zlib.crc32(b"".join(np.asarray(w).tobytes() for w in model.get_weights())),
        },
    )
    steps = job.steps_per_epoch
    hooks: list[keras.callbacks.Callback] = [callbacks.EpochSeed(job.seed, job.whole)]
    if options.built_in:
        hooks.append(callbacks.FiniteLoss())
    if job.validate is not None:  # first: what it adds to the epoch's logs is watched and kept by the others
        hooks.append(callbacks.Validate(job.validate))
    hooks += others
    auc = next((metric for metric in shown if hasattr(metric, "per_label")), None)
    if mine is not None:
        hooks += _tensorboard(job, mine, settings, options, auc)
    if mine is not None and auc is not None:
        hooks.append(callbacks.Arrays(auc, options.array_paths, mine))
    if mine is not None and options.bar is not None:
        say = options.say or log.info
        hooks.append(callbacks.Progress(options.bar, epochs=options.epochs, steps_per_epoch=steps, say=say))
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
                    micro_batches=options.micro_batches,
                    steps_per_execution=options.steps_per_execution,
                    data_service=options.data_service,
                    shown=shown,
                )
        except KeyboardInterrupt:
            if mine is not None:
                _save(job.whole(model), mine)
            raise
        finally:
            for hook in hooks:
                if isinstance(hook, callbacks.Progress):
                    hook.close()
    if mine is not None:
        _save(job.whole(model), mine)
    multi_worker.gather(on, [0])  # nobody leaves before the chief has written
    return job.whole(model)


def _tensorboard(job: Job, run: Run, settings: Training, options: Options, auc: Any) -> list[keras.callbacks.Callback]:
    """What writes TensorBoard's files."""
    if settings.tensorboard == "none":
        return []
    freq, batch_size, steps = options.update_freq, job.batch_size, job.steps_per_epoch
    if settings.tensorboard == "scalars":
        return [scalars.TensorBoard(run.folder, update_freq=freq, batch_size=batch_size, steps_per_epoch=steps)]
    return [
        dashboard.Dashboard(
            run,
            metric=auc,
            vectors=job.vectors,
            epochs=options.epochs,
            validated=job.valid is not None,
            update_freq=freq,
            batch_size=batch_size,
            steps_per_epoch=steps,
        )
    ]


def _had_stopped(others: Sequence[keras.callbacks.Callback], checkpoint: callbacks.Checkpoint) -> bool:
    """Whether the run that is being resumed had already ended by early stopping."""
    states = (checkpoint.restored or {}).get("callbacks", [])
    return any(
        isinstance(callback, keras.callbacks.EarlyStopping) and state.get("stopped_epoch", 0) > 0
        for callback, state in zip(others, states, strict=False)
    )


def _save(model: keras.Model, run: Run) -> None:
    """Write model.keras: the best epoch's weights, else the last complete epoch's, else those at hand."""
    best, complete = run.best_checkpoint(), run.checkpoints()
    if best is not None:
        load_weights(model, best / callbacks.WEIGHTS)
    elif complete:
        load_weights(model, complete[-1][1] / callbacks.WEIGHTS)
    with files.whole(run.model_path, suffix=".keras") as temporary:
        model.save(temporary, include_optimizer=False)
