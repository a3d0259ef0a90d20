"""Options of the commands that taggers take, and which of them go together. Loads no TensorFlow."""

import argparse
import logging
import math
from typing import TYPE_CHECKING

from orpheus.base import cli
from orpheus.errors import ConfigError
from orpheus.tasks.plan import DAMAGED, DATABASE, RETRY, TFRECORDS_DIR, THRESHOLD, TOP, Flags, check_shown, flag

if TYPE_CHECKING:
    from orpheus.runs.folder import Run

log = logging.getLogger(__name__)
FLAGS: Flags = {
    "train": {
        "data": [
            TFRECORDS_DIR,
            flag(
                "--lastfm",
                kept=True,
                metavar="DB",
                help="tag database whose popularity picks the top tags; the records' own if not given",
            ),
            flag("--multi-db", type=int, metavar="N", help="number of tag databases in the records (checked)"),
            DATABASE,
            flag("--filter", kept=True, action="store_true", help="leave out the tags of tags_remove.txt"),
            flag("--filter-path", metavar="DIR", default="dictionaries", help="folder that holds tags_remove.txt"),
        ],
        "clusters as classes (Models 3 and 4)": [
            flag(
                "--dictionary-dir",
                kept=True,
                metavar="FILE_OR_DIR",
                help="dictionary of tools.cluster_tags, or the folder of one: train on its clusters instead of tags",
            ),
            flag(
                "--genre-path",
                kept=True,
                metavar="DIR",
                help="folder that holds genres.txt: only its clusters, pairs of them merged",
            ),
            flag(
                "--merge-outside",
                kept=True,
                action="store_true",
                help="merge pairs of genres.txt of which only one is a genre, too; the reference leaves them",
            ),
            flag(
                "--save-cooccurrence-matrix-path",
                "--save-coocurrence-matrix-path",
                dest="save_cooccurrence",
                type=cli.output_folder,
                metavar="DIR",
                help="write on how many training tracks each two classes meet, .npy, and the names of the classes",
            ),
        ],
        "embedding-aware loss (Model 5)": [
            flag(
                "--custom-loss-embeddings-path",
                kept=True,
                metavar="PATH",
                help="word vectors (GloVe or word2vec file, TF-Hub model): a false positive costs more the less it "
                "resembles the true classes",
            ),
            flag(
                "--gamma",
                kept=True,
                type=float,
                metavar="G",
                help="factor of that cost, at least 0 (plain cross-entropy); 1 if not given",
            ),
            flag(
                "--min-coverage",
                kept=True,
                type=float,
                metavar="SHARE",
                help="smallest share of the classes that word vectors must know; 0.5 if not given",
            ),
        ],
        "training": [
            flag("--no-shuffle", action="store_true", help="keep the order of the records, whatever the config says"),
            flag(
                "--multi-tag", action="store_true", help="macro-averaged metrics (mean over classes) instead of micro"
            ),
            flag(
                "--init-from",
                kept=True,
                metavar="RUN",
                help="trained tagger's run to start from: its network and, see --init-rows, the output rows of classes that both "
                "know",
            ),
            flag(
                "--init-embeddings-path",
                kept=True,
                metavar="PATH",
                help="word vectors for --init-from: a new class starts from the mean of the rows of the 3 classes nearest "
                "to it; those of --custom-loss-embeddings-path if not given, and fresh without any",
            ),
            flag(
                "--init-rows",
                kept=True,
                choices=("by-name", "fresh"),
                help="whether classes that both know by name start from the old output rows; by-name, and fresh of a "
                "published tagger, whose words may mean another thing, if not given",
            ),
            flag(
                "--freeze",
                kept=True,
                action="store_true",
                help="with --init-from: train the tags' layer only, the rest stays as it is",
            ),
        ],
        "output": [
            flag(
                "--save-PR",
                type=cli.output_folder,
                metavar="DIR",
                help="write validation PR-AUC per class, (epochs, classes) .npy",
            ),
            flag(
                "--save-ROC",
                type=cli.output_folder,
                metavar="DIR",
                help="write validation ROC-AUC per class, (epochs, classes) .npy",
            ),
            flag(
                "--save-confusion-matrix",
                type=cli.output_folder,
                metavar="DIR",
                help="write TP, TN, FP, FN, (4, thresholds, classes) .npy of the last epoch",
            ),
            flag(
                "--save-tags-path", type=cli.output_folder, metavar="DIR", help="write the names of the classes, .npy"
            ),
        ],
    },
    "evaluate": {
        "data": [TFRECORDS_DIR],
        "of a tagger": [
            flag("--batch-size", type=int, default=32, metavar="N", help="windows per pass"),
            flag(
                "--csv",
                type=cli.output_file(),
                metavar="FILE",
                help="file to write the metrics and their bounds to as a table, too",
            ),
            flag(
                "--compare-tags",
                metavar="TAG_RUN",
                help="RUN is of clusters: evaluate it, class by class, against the scores that TAG_RUN gives the clusters' "
                "tags, on the same tracks; writes RUN/comparison.json instead",
            ),
            flag(
                "--without-leaks",
                metavar="AUDIT",
                help="JSON of tools.split --audit RUN --audit-json: also the metrics without the tracks that share "
                "artist, album or audio with what the model has learned from",
            ),
            flag(
                "--suspects",
                type=cli.output_file(),
                metavar="CSV",
                help="write the tracks and tags where model and annotation disagree most: probably missing or wrong, for "
                "people to listen to",
            ),
            flag("--suspects-count", type=int, default=200, metavar="N", help="most suspects to write"),
            flag(
                "--tracks",
                nargs="+",
                metavar="CSV",
                default=[],
                help="csv of tracks (track_id, audio_path) for paths of suspects",
            ),
        ],
    },
    "predict": {
        "what is shown": [THRESHOLD, TOP],
        "what is written": [
            flag("--csv", type=cli.output_file(), metavar="FILE", help="a row per file, a column per class"),
            flag("--json", type=cli.output_file(), metavar="FILE", help="tags and scores of every window, per file"),
            flag(
                "--segments",
                type=cli.output_file(".json", ".csv", ".jams"),
                metavar="FILE",
                help="where each tag is at or above -t: start, end, tag, confidence; .json, .csv, or .jams (several files: "
                "one each, with its name)",
            ),
            flag(
                "--taggram",
                type=cli.output_file(".png", ".svg", ".pdf", ".jpg", ".jpeg"),
                metavar="PNG",
                help="tags over time as a picture; with several files their names are added",
            ),
            flag(
                "--timeline",
                type=cli.output_file(),
                metavar="HTML",
                help="tags over time as a page that plays the file and moves along; named in the same way",
            ),
            flag(
                "--embed-audio",
                action="store_true",
                help="the audio inside that page instead of a relative link to it",
            ),
        ],
        "what a hidden layer says": [
            flag(
                "-l",
                "--layer",
                metavar="LAYER",
                help="of a tagger: name of the layer (pooled, embedding, …), the means of whose output over a file's windows "
                "go to --out; of an experiment: index or name, and its output becomes the features RUN-pred_LAYER, a setting "
                "of the next experiment",
            ),
            flag(
                "-o",
                "--out",
                type=cli.output_file(".npz", ".npy"),
                metavar="FILE",
                help="a row per file: .npz with ids and matrix, or .npy with its ids in a .tsv beside it; ids are the files' "
                "names without folder and ending where these are unique, else their paths",
            ),
        ],
        "how": [
            flag("--hop-seconds", type=float, metavar="S", help="seconds from window to window; a window if not given"),
            flag("--batch-size", type=int, default=16, metavar="N", help="windows per pass"),
            DAMAGED,
            flag(
                "--failures",
                type=cli.output_file(".jsonl"),
                metavar="FILE",
                help="file that remembers unusable files, .jsonl, with size and date, and do not read them again unless these change",
            ),
            RETRY,
        ],
    },
}


def check(command: str, arguments: argparse.Namespace, run: "Run | None") -> None:
    """See `orpheus.tasks.plan.Task`."""
    if command == "train":
        _check_train(arguments, run)
    elif command == "evaluate":
        if arguments.suspects_count < 1:
            raise ConfigError(f"--suspects-count {arguments.suspects_count}: must be at least 1")
        if arguments.suspects and arguments.split == "train":
            log.warning("--suspects of the training split: the model has learned these annotations, errors included")
    elif command == "predict":
        _check_predict(arguments, run)


def _check_train(arguments: argparse.Namespace, run: "Run | None") -> None:
    if run is None and not arguments.tfrecords_dir:
        raise ConfigError("--tfrecords-dir is missing: a new run needs it")
    if arguments.frontend == "features":
        raise ConfigError("FRONTEND=features: only retrieval trains on features alone; give a config with its section")
    if arguments.gamma is not None:
        if not 0 <= arguments.gamma < math.inf:
            raise ConfigError(f"--gamma {arguments.gamma}: must be at least 0 (0 is plain cross-entropy)")
        if not arguments.custom_loss_embeddings_path:
            raise ConfigError(f"--gamma {arguments.gamma}: needs word vectors, --custom-loss-embeddings-path")
    if arguments.min_coverage is not None:
        if not 0 <= arguments.min_coverage <= 1:
            raise ConfigError(f"--min-coverage {arguments.min_coverage}: must be between 0 and 1")
        if not arguments.custom_loss_embeddings_path:
            raise ConfigError(
                f"--min-coverage {arguments.min_coverage}: is of word vectors, --custom-loss-embeddings-path"
            )
    if arguments.init_embeddings_path and not arguments.init_from:
        raise ConfigError("--init-embeddings-path: says how new classes of --init-from start; give it too")
    for option, value in (("--init-rows", arguments.init_rows), ("--freeze", arguments.freeze)):
        if value and not arguments.init_from:
            raise ConfigError(f"{option}: says what becomes of the network of --init-from; give it too")
    if arguments.genre_path and not arguments.dictionary_dir:
        raise ConfigError("--genre-path: chooses clusters of a dictionary; give --dictionary-dir too")
    if arguments.merge_outside and not arguments.genre_path:
        raise ConfigError("--merge-outside: says how pairs of genres.txt are merged; give --genre-path too")


def _check_predict(arguments: argparse.Namespace, run: "Run | None") -> None:
    check_shown(arguments)
    if arguments.batch_size < 1:
        raise ConfigError(f"--batch-size {arguments.batch_size}: must be at least 1")
    if arguments.embed_audio and not arguments.timeline:
        raise ConfigError("--embed-audio: goes with --timeline")
    if arguments.retry and not arguments.failures:
        raise ConfigError("--retry: reads again what --failures remembers; give that too")
    if arguments.layer or arguments.out:
        if not arguments.out:
            raise ConfigError(f"-l {arguments.layer}: -o is missing, the file .npz or .npy for what the layer says")
        for option in ("csv", "json", "segments", "taggram", "timeline"):
            if getattr(arguments, option):
                raise ConfigError(f"--{option}: shows tags, and -l asks for a hidden layer; call twice")
    if run is not None and not arguments.inputs:
        raise ConfigError(f"{run.folder}: a tagger takes audio files; give some, or folders of them")
