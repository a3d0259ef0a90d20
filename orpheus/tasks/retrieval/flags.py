"""Options of the commands that retrieval runs take. Loads no TensorFlow."""

import argparse
from typing import TYPE_CHECKING

from orpheus.errors import ConfigError
from orpheus.tasks.plan import DATABASE, TFRECORDS_DIR, Flags, flag

if TYPE_CHECKING:
    from orpheus.runs.folder import Run

FLAGS: Flags = {
    "train": {
        "data": [
            TFRECORDS_DIR,
            DATABASE,
        ],
        "retrieval": [
            flag(
                "--word-vectors",
                kept=True,
                metavar="PATH",
                help="of the tags (GloVe or word2vec file, TF-Hub model); needed",
            ),
            flag(
                "--factors",
                metavar="FILE",
                help="input_type cf and hybrid: .npz with ids and matrix, or text, an id and numbers a line",
            ),
            flag(
                "--tags",
                kept=True,
                metavar="SOURCE",
                nargs="+",
                help="tags of songs by id, as of tools.split; the records' own if not given",
            ),
            flag(
                "--split",
                kept=True,
                metavar="FILE",
                help="of tools.split; shards by the config's model-training.split if not given",
            ),
            flag("--categories", kept=True, metavar="TSV", help="tag and category a line: tables by category"),
        ],
    },
    "evaluate": {
        "data": [TFRECORDS_DIR],
        "of a retrieval run": [
            flag("--factors", metavar="FILE", help="where its factors are now; where they were if not given")
        ],
    },
    "predict": {},
}


def check(command: str, arguments: argparse.Namespace, run: "Run | None") -> None:
    """See `orpheus.tasks.plan.Task`."""
    if command == "train" and run is None and not arguments.word_vectors:
        raise ConfigError("--word-vectors is missing: a new retrieval run needs it")
