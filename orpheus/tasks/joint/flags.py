"""Options of the commands that joint runs take. Loads no TensorFlow."""

import argparse
from typing import TYPE_CHECKING

from orpheus.errors import ConfigError
from orpheus.tasks.plan import DAMAGED, DATABASE, TFRECORDS_DIR, THRESHOLD, TOP, Flags, check_shown, flag
from orpheus.tasks.retrieval.flags import CATEGORIES, FACTORS, MOVED_FACTORS, SPLIT, TAGS, WORD_VECTORS

if TYPE_CHECKING:
    from orpheus.runs.folder import Run

_PLAYS = "listener, song, count a line; .csv, else separated by tabs"
TEXTS = flag("--texts", metavar="FILE", help="vectors of songs' texts, a table as of --factors")
COUNTS = flag("--counts", metavar="FILE", help=f"who heard what: {_PLAYS}")
LISTENER_FACTORS = flag(
    "--listener-factors", metavar="FILE", help="listeners=factors: a table, made of training songs only"
)
FLAGS: Flags = {
    "train": {
        "data": [TFRECORDS_DIR, DATABASE],
        "retrieval": [WORD_VECTORS, FACTORS, TAGS, SPLIT, CATEGORIES],
        "joint (with those of retrieval)": [TEXTS, COUNTS, LISTENER_FACTORS],
    },
    "evaluate": {
        "data": [TFRECORDS_DIR],
        "of a retrieval run": [MOVED_FACTORS],
        "of a joint run": [
            flag("--texts", metavar="FILE", help="where its texts are now"),
            flag("--counts", metavar="FILE", help="where its counts are now"),
            flag("--listener-factors", metavar="FILE", help="where its listeners' factors are now"),
        ],
    },
    "predict": {"what is shown": [THRESHOLD, TOP], "how": [DAMAGED]},
}


def check(command: str, arguments: argparse.Namespace, run: "Run | None") -> None:
    """See `orpheus.tasks.plan.Task`."""
    if command == "train" and run is None and not arguments.word_vectors:
        raise ConfigError("--word-vectors is missing: a new joint run needs it")
    if command == "predict" and run is not None:
        check_shown(arguments)
        if "audio" not in run.read("run")["inputs"]:
            inputs = " and ".join(run.read("run")["inputs"])
            raise ConfigError(
                f"{run.folder}: was trained on {inputs} and hears no files; index its songs with python -m orpheus.retrieve"
            )
        if not arguments.inputs:
            raise ConfigError(f"{run.folder}: takes audio files; give some, or folders of them")
