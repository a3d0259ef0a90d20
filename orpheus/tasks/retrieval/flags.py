"""Options of the commands that retrieval runs take. Loads no TensorFlow."""

import argparse
from typing import TYPE_CHECKING

from orpheus.errors import ConfigError
from orpheus.tasks.plan import DATABASE, TFRECORDS_DIR, Flags, flag

if TYPE_CHECKING:
    from orpheus.runs.folder import Run

WORD_VECTORS = flag(
    "--word-vectors",
    kept=True,
    metavar="PATH",
    help="word vectors of the tags (GloVe or word2vec file, TF-Hub model); needed",
)
FACTORS = flag(
    "--factors",
    metavar="FILE",
    help="factors of the songs for input_type cf and hybrid: .npz with ids and matrix, or text, an id and numbers a line",
)
TAGS = flag(
    "--tags",
    kept=True,
    metavar="SOURCE",
    nargs="+",
    help="tags of songs by id, as of tools.split; the records' own if not given",
)
SPLIT = flag(
    "--split",
    kept=True,
    metavar="FILE",
    help="split of tools.split; shards by the config's model-training.split if not given",
)
CATEGORIES = flag(
    "--categories", kept=True, metavar="TSV", help="file of tag and category a line, for tables by category"
)
MOVED_FACTORS = flag("--factors", metavar="FILE", help="file of its factors now; where they were if not given")
FLAGS: Flags = {
    "train": {
        "data": [
            TFRECORDS_DIR,
            DATABASE,
        ],
        "retrieval": [WORD_VECTORS, FACTORS, TAGS, SPLIT, CATEGORIES],
    },
    "evaluate": {
        "data": [TFRECORDS_DIR],
        "of a retrieval run": [MOVED_FACTORS],
    },
    "predict": {},
}


def check(command: str, arguments: argparse.Namespace, run: "Run | None") -> None:
    """See `orpheus.tasks.plan.Task`."""
    if command == "train" and run is None and not arguments.word_vectors:
        raise ConfigError("--word-vectors is missing: a new retrieval run needs it")
