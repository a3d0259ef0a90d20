"""Trains a plan of any task: options of the engine, the run folder, a dry run."""

import dataclasses
import logging
from collections.abc import Sequence

import tensorflow as tf

from orpheus.base import cli, storage
from orpheus.errors import ConfigError
from orpheus.learning.engine import fit, multi_worker
from orpheus.learning.engine.job import Job
from orpheus.runs.folder import Run
from orpheus.tasks.plan import Plan

log = logging.getLogger(__name__)


def train(
    plan: Plan,
    run: Run | None,
    strategy: tf.distribute.Strategy,
    *,
    command: Sequence[str],
    data_service: str | None = None,
    dry_run: bool = False,
) -> Run | None:
    """Make the run of a plan and train it, or go on with it.

    Args:
        plan: Of a task.
        run: None for a new one.
        strategy: Of `devices.strategy`.
        command: Command line, for command.txt of a new run.
        data_service: As `fit.Options`.
        dry_run: Run one batch and print what would happen instead.

    Returns:
        The run; None of a dry run, and on workers other than the chief of a new run.

    Raises:
        ConfigError, DataError: as `fit.check` and `fit.train`.
    """
    config, settings = plan.config, plan.settings
    if data_service and storage.is_copied(settings.get("tfrecords_dir") or ""):
        raise ConfigError(
            f"--data-service with {settings['tfrecords_dir']}: fsspec opens it, and in this process only; install "
            "tensorflow-io, or copy the records to a folder that the service's workers see"
        )
    me = multi_worker.member(strategy)
    if run is None:
        # The order of the data is theirs, on however many machines a run goes on. A data service is one reader.
        settings["readers"] = 1 if data_service else me.workers
    job = plan.job(strategy.num_replicas_in_sync > 1)
    options = fit.Options(
        epochs=settings["epochs"],
        built_in=settings["built_in"],
        update_freq=settings.get("update_freq", fit.Options.update_freq),
        jit=config.training.jit,
        mixed_precision=config.training.mixed_precision,
        micro_batches=config.training.micro_batches,
        steps_per_execution=config.training.steps_per_execution,
        data_service=data_service,
        bar=cli.progress,
    )
    if run is not None:
        fit.check_epochs(config.training, before=run.read("run")["epochs"], now=options.epochs)
    fit.check(job, config.training, options, strategy)
    if me.index > 0:
        log.info("worker %d of %d: %s writes", me.index + 1, me.workers, me.addresses[0])
        fit.train(job, run, config.training, options, strategy)
        return run
    if dry_run:
        _dry_run(plan, job, options, strategy)
        return None
    if run is None:
        run = plan.create(command)
        plan.save(run)
    try:
        with run.locked():
            run.write("run", settings)
            log.info("run: %s", run.location)
            options = dataclasses.replace(options, array_paths=plan.arrays(run))
            model = fit.train(job, run, config.training, options, strategy)
            run.write("run", {**settings, "parameters": model.count_params()})
    except KeyboardInterrupt:
        log.warning("interrupted; go on with: python -m orpheus.train --resume %s", run.location)
        raise
    finally:
        run.publish()
    return run


def _dry_run(plan: Plan, job: Job, options: fit.Options, strategy: tf.distribute.Strategy) -> None:
    """One batch through the whole machine, and what a run would do."""
    model, _ = fit.prepare(job, strategy, options)
    inputs, targets = next(iter(job.train(0)))
    outputs = model(inputs, training=False)
    shapes = ", ".join(f"{tuple(one.shape)} {one.dtype.name}" for one in tf.nest.flatten(inputs))
    steps = f"{options.epochs} of {job.steps_per_epoch} steps of {job.batch_size}"
    named = (plan.settings.get(key) for key in ("network", "frontend", "task"))
    kind = next(name for name in named if name)
    rows = [
        ("network", f"{kind}: batches {shapes} -> {tuple(outputs.shape)}"),
        ("model", f"{model.count_params():,} parameters; loss of one batch {float(job.loss(targets, outputs)):.4f}"),
        ("epochs", f"{steps}, {strategy.num_replicas_in_sync} replica(s)"),
        *plan.lines(),
    ]
    for name, text in rows:
        print(f"{name:<13} {text}")
