"""Work on many machines by Apache Beam: an extra requirement, loaded only here."""

import argparse
import contextlib
import importlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from orpheus.errors import ConfigError, DataError


def run(items: Mapping[str, Any], work: Callable[[str, Any], None], options: Sequence[str]) -> None:
    """Call `work` once with every (name, value) of `items`, on Beam's workers; returns when all are done.

    Args:
        items: What to work on; they travel to the workers.
        work: A module's function, or a partial of one, that leaves its result in storage all workers can write to. A
            runner may call it again when a worker has died.
        options: Beam's own, for example ``["--runner=DataflowRunner", "--project=p"]``; its DirectRunner without.

    Raises:
        ConfigError: Beam is not installed, or knows no such option or runner.
        DataError: the job ended otherwise than well.
    """
    beam, found = _load(options)
    try:
        pipeline = beam.Pipeline(options=found)
    except ValueError as error:
        raise ConfigError(f"Beam's options {' '.join(options)}: {error}") from None
    # Reshuffle keeps Beam from fusing all shards into one piece of work for one worker.
    pipeline | beam.Create(list(items.items())) | beam.Reshuffle() | beam.MapTuple(work)
    state = pipeline.run().wait_until_finish()
    if state not in (None, "DONE"):  # some runners do not say
        raise DataError(f"Beam's job ended as {state}; see the runner's log, then run the same command to go on")


def _load(options: Sequence[str]) -> tuple[Any, Any]:
    """(Beam's module, its options parsed)."""
    with _quiet():
        try:
            beam = importlib.import_module("apache_beam")
            settings = importlib.import_module("apache_beam.options.pipeline_options").PipelineOptions
        except ImportError as error:
            raise ConfigError(
                f"--runner beam: Apache Beam does not load here ({error}); pip install 'orpheus-music[beam]'"
            ) from None
    parser = argparse.ArgumentParser(
        allow_abbrev=False, add_help=False, conflict_handler="resolve", exit_on_error=False
    )
    for kind in _kinds(settings):
        kind._add_argparse_args(parser)
    try:
        unknown = parser.parse_known_args(list(options))[1]
    except (argparse.ArgumentError, SystemExit) as error:
        raise ConfigError(f"Beam's options {' '.join(options)}: {error}") from None
    if unknown:  # Beam itself would warn and go on without
        raise ConfigError(f"{unknown[0]}: no option of Beam's; behind -- come options of Beam and its runners only")
    return beam, settings(list(options))


def _kinds(settings: Any) -> Iterator[Any]:
    for kind in settings.__subclasses__():
        if "_add_argparse_args" in vars(kind):
            yield kind
        yield from _kinds(kind)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Beam from warning of parts of it that are not installed and not used."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
