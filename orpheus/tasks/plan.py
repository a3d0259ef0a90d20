"""What a task is: the table of all of them, the protocol each keeps, and the plan of a run that it hands to the training.

The commands know nothing else of a task. Nothing here loads TensorFlow, so that every command can show every task's options.
"""

import argparse
import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from orpheus.base import cli
from orpheus.errors import ConfigError, DataError

if TYPE_CHECKING:
    from orpheus.learning.engine.job import Job
    from orpheus.runs.folder import Run

# What run.json calls a task → the module that keeps the protocol `Task`. A config without the section of any other is a
# tagger's.
TASKS: dict[str, str] = {
    "tagging": "orpheus.tasks.tagging.plan",
    "retrieval": "orpheus.tasks.retrieval.plan",
    "joint": "orpheus.tasks.joint.plan",
    "recommendation": "orpheus.tasks.recommendation.plan",
    "classification": "orpheus.tasks.recommendation.plan",
}
DEFAULT = "tagging"


@dataclass(frozen=True)
class Plan:
    """A run, ready to be made or gone on with.

    Attributes:
        config: A whole config; its `training` is the engine's.
        settings: Content of run.json; epochs, seed and built_in are in it.
        job: Whether batch normalisation is synchronised → the Job.
        create: Command line → a new, empty run folder.
        save: Writes into a new run folder what the task needs besides run.json.
        lines: What a dry run says of the data, (name, text) each.
        arrays: Run → files for the arrays of `fit.Options`.
    """

    config: Any
    settings: dict[str, Any]
    job: "Callable[[bool], Job]"
    create: "Callable[[Sequence[str]], Run]"
    save: "Callable[[Run], None]"
    lines: Callable[[], list[tuple[str, str]]]
    arrays: "Callable[[Run], dict[str, Path]]" = lambda run: {}


@dataclass(frozen=True)
class Flag:
    """An option of a command that only some tasks take.

    Attributes:
        names: As on the command line.
        options: Of `argparse.ArgumentParser.add_argument`.
        kept: A run keeps it: with --resume it is refused.
    """

    names: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    kept: bool = False

    @property
    def name(self) -> str:
        """The first long one of its names."""
        return next((name for name in self.names if name.startswith("--")), self.names[0])

    @property
    def dest(self) -> str:
        """The attribute of the parsed arguments."""
        return self.options.get("dest") or self.name.lstrip("-").replace("-", "_")

    def add_to(self, parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
        """Add it to a parser."""
        parser.add_argument(*self.names, **self.options)

    def given(self, arguments: argparse.Namespace) -> bool:
        """Whether the command line has it, with another value than its default.

        Example:
            >>> flag("--gamma", type=float).given(argparse.Namespace(gamma=0.0))
            True
            >>> flag("--filter", action="store_true").given(argparse.Namespace(filter=False))
            False
        """
        default = self.options.get("default", False if self.options.get("action") == "store_true" else None)
        return getattr(arguments, self.dest, default) != default


def flag(*names: str, kept: bool = False, **options: Any) -> Flag:
    """A `Flag` as `add_argument` would be told of it."""
    return Flag(names, options, kept)


# Options that several tasks take.
TFRECORDS_DIR = flag(
    "--tfrecords-dir", metavar="DIR", help="folder of its records; where they were if not given, of a run that is there"
)
DATABASE = flag(
    "--multi-db-default", type=int, metavar="I", help="number of the tag database in the records to train on, from 0"
)
DAMAGED = flag(
    "--damaged",
    choices=("keep", "skip"),
    default="keep",
    help="keep what can be decoded of a damaged file, and tell what is lost; or skip it, as a failure",
)
THRESHOLD = flag(
    "-t", "--threshold", type=float, default=0.1, metavar="P", help="threshold below which tags are not shown, 0 to 1"
)
TOP = flag("--top", type=int, default=10, metavar="K", help="most tags shown per file")
RETRY = flag("--retry", action="store_true", help="read files that were unusable before and have not changed, too")
Flags = Mapping[str, Mapping[str, Sequence[Flag]]]  # command → group of its --help → options


class Task(Protocol):
    """A task to `orpheus.train`, `orpheus.evaluate` and `orpheus.predict`: what a module named in `TASKS` has.

    Attributes:
        NAME: For people.
        SECTION: The section that makes a config.json its own; None for `DEFAULT`.
        FLAGS: Its options of each command, by group; a command that is not there does not take its runs.
    """

    NAME: str
    SECTION: str | None
    FLAGS: Flags

    def check(self, command: str, arguments: argparse.Namespace, run: "Run | None") -> None:
        """Refuse combinations of options that no parser can, before TensorFlow is loaded.

        Args:
            command: ``"train"``, ``"evaluate"`` or ``"predict"``.
            arguments: Of its command line.
            run: None for a new one.

        Raises:
            ConfigError: see above.
        """

    def plan(self, arguments: argparse.Namespace, values: dict[str, Any], source: str) -> Plan:
        """The plan of a new run.

        Args:
            arguments: Of the command line.
            values: Content of the config file.
            source: Its name, for messages.
        """

    def reopen(self, run: "Run", arguments: argparse.Namespace) -> Plan:
        """The plan of an existing run that is to be trained on."""

    def evaluate(self, run: "Run", arguments: argparse.Namespace) -> str:
        """Evaluate a run on arguments.split, write what was found into it, and return it as text."""

    def table(self, run: "Run", split: str) -> str:
        """The evaluation of a run on a split, ``"train"``, ``"valid"`` or ``"test"``, out of its metrics.json, as text."""

    def predict(self, run: "Run", arguments: argparse.Namespace) -> int:
        """Print and write what a run says of new inputs; returns the exit code of the command."""


def task(name: str) -> Task:
    """A task by the name that run.json has.

    Raises:
        DataError: there is none of that name.
    """
    if name not in TASKS:
        raise DataError(f"task {name!r}: unknown; this orpheus has {', '.join(TASKS)}")
    return cast(Task, importlib.import_module(TASKS[name]))


def task_of(run: "Run") -> Task:
    """The task of a run.

    Raises:
        DataError: run.json names none that is known here.
    """
    if run.task not in TASKS:
        raise DataError(f"{run.folder}/run.json: task {run.task!r} is unknown; this orpheus has {', '.join(TASKS)}")
    return task(run.task)


def task_for(values: Mapping[str, Any]) -> Task:
    """The task that the content of a config.json is for, by its sections."""
    return next((one for one in tasks() if one.SECTION in values), task(DEFAULT))


def tasks() -> Iterator[Task]:
    """Every task once, in the order of the table."""
    return (cast(Task, importlib.import_module(module)) for module in dict.fromkeys(TASKS.values()))


def add_flags(parser: argparse.ArgumentParser, command: str) -> None:
    """Add the options of all tasks to a command, those that several take once, under the groups that they name."""
    groups = {group.title: group for group in parser._action_groups}
    known = set()
    for one in tasks():
        for title, flags in one.FLAGS.get(command, {}).items():
            if title not in groups:
                groups[title] = parser.add_argument_group(title)
            for option in flags:
                if option.names not in known:
                    known.add(option.names)
                    option.add_to(groups[title])


def check_flags(mine: Task, command: str, arguments: argparse.Namespace, run: "Run | None") -> None:
    """Refuse options that belong to other tasks alone, and with --resume those that a run keeps.

    Args:
        mine: The task of the run.
        command: ``"train"``, ``"evaluate"`` or ``"predict"``.
        arguments: Of its command line.
        run: None for a new one.

    Raises:
        ConfigError: names the option and whose it is.
    """
    what = f"this is a new {mine.NAME} run" if run is None else f"{run.folder} is a run of {run.task}"
    if command not in mine.FLAGS:
        raise ConfigError(f"{what}, which orpheus.{command} has no use for")
    own = _flags(mine, command)
    for other in tasks():
        for dest, option in _flags(other, command).items():
            if dest not in own and option.given(arguments):
                raise ConfigError(f"{option.name}: an option of {other.NAME} runs, and {what}; leave it out")
    for option in own.values() if command == "train" and run is not None else ():
        if option.kept and option.given(arguments):
            raise ConfigError(
                f"{option.name} with --resume: the run keeps its own config, classes and loss; leave it out"
            )


def _flags(one: Task, command: str) -> dict[str, Flag]:
    return {option.dest: option for flags in one.FLAGS.get(command, {}).values() for option in flags}


def engine_settings(arguments: argparse.Namespace, epochs: int) -> dict[str, Any]:
    """What run.json says of the engine."""
    return {
        "seed": arguments.seed,
        "epochs": arguments.epochs or epochs,
        "steps_per_epoch": arguments.steps_per_epoch,
        "built_in": arguments.built_in,
        "update_freq": arguments.update_freq,
    }


def check_shown(arguments: argparse.Namespace) -> None:
    """Refuse values of `THRESHOLD` and `TOP` that are out of range.

    Raises:
        ConfigError: names the option.
    """
    if not 0 <= arguments.threshold <= 1:
        raise ConfigError(f"--threshold {arguments.threshold}: must be between 0 and 1")
    if arguments.top < 1:
        raise ConfigError(f"--top {arguments.top}: must be at least 1")


def scan_progress(names):
    """A bar over shards that are looked through."""
    return cli.progress(names, desc="scan", unit="shard")
