"""Models 1, 2, 3 and 5 on one data set whose tags are scattered over synonyms: do clusters, does the loss help?

1: the most frequent tags as they are spelled. 2: the same less those that say nothing about the sound. 3: k-means clusters
of word vectors, less those that hold no tag of Model 2. 5: Model 2 with the embedding-aware loss. All on the same split,
with several seeds of weights and order. The word vectors are trained on the tag lists of the training tracks, and the
clusters see no other tracks either. Each model is evaluated on its own classes, and on the true tags that were scattered: the
score of a true tag is the highest of those classes that hold one of its spellings, and one that no class holds is missed
(score 0). Finished runs are kept; the same command goes on where it stopped.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.philharmonia import call
from orpheus.base import cli, files
from orpheus.errors import ConfigError, DataError

NAMES = {
    "1": "1: 100 most frequent tags",
    "2": "2: the same, filtered",
    "3": "3: clusters of word vectors",
    "5": "5: as 2, embedding-aware loss",
}
TRUE_TAGS, TOP, THRESHOLD, N_CLUSTERS, N_SHARDS, SCATTER_SEED = 40, 100, 10, 60, 20, 0
CONFIG = {
    "model": {"n_filters": 4, "n_dense_units": 64, "dropout": 0.3},
    "model-training": {
        "optimizer": {"name": "Adam", "learning_rate": 0.0005, "max_learning_rate": 0.003},
        "schedule": "one-cycle",
        "batch_size": 32,
        "shuffle_buffer_size": 2000,
        "split": [70, 10, 20],
        "window_length": 2,
    },
    "tags": {"top": TOP},
    "tfrecords": {"n_mels": 96, "sample_rate": 16000},
}
VECTORS = ("--dimension", 32, "--epochs", 100, "--min-count", 3, "--sample", 0)


def parser() -> cli.Parser:
    result = cli.parser(
        "benchmarks.models", __doc__.strip(), example="python -m benchmarks.models --seeds 3 --out /tmp/models"
    )
    data = result.add_argument_group("data")
    data.add_argument("--data", default="../shared/data/philharmonia", metavar="DIR", help="tracks.csv and tags.db")
    data.add_argument("--out", default="models", metavar="DIR", help="records, runs, results.json and models.md")
    data.add_argument(
        "--glove",
        default="../shared/data/glove/glove.6B.50d.first2400.txt",
        metavar="FILE",
        help="word vectors whose coverage of the tags is reported",
    )
    how = result.add_argument_group("how")
    how.add_argument("--models", nargs="+", choices=tuple(NAMES), default=list(NAMES), help="which")
    how.add_argument("--seeds", type=int, default=3, metavar="N", help="runs of each model")
    how.add_argument("--epochs", type=int, default=20, metavar="N", help="epochs of each run")
    how.add_argument("--gamma", type=float, default=1.0, metavar="G", help="of Model 5")
    how.add_argument(
        "--vectors", metavar="FILE", help="of Model 5's loss; those of the training tracks' tags if not given"
    )
    how.add_argument("--smoke", action="store_true", help="160 tracks, one seed, one epoch: does it run?")
    return result


def body(arguments: argparse.Namespace) -> None:
    if arguments.smoke:
        arguments.seeds, arguments.epochs = 1, 1
    if arguments.seeds < 1 or arguments.epochs < 1:
        raise ConfigError("--seeds and --epochs must be at least 1")
    out = Path(arguments.out)
    kept = {name: getattr(arguments, name) for name in ("data", "epochs", "gamma", "smoke", "vectors")}
    if (out / "settings.json").exists() and (found := files.read_json(out / "settings.json")) != kept:
        raise ConfigError(f"{out}: holds results of {found}, this is {kept}; give another --out")
    files.write_json(out / "settings.json", kept)
    prepare(arguments, out)
    results = []
    for seed in range(arguments.seeds):
        for model in arguments.models:
            path = out / "results" / f"model-{model}_seed-{seed}.json"
            if not path.exists():
                files.write_json(path, run(model, seed, arguments, out))
            results.append(files.read_json(path))
            print(f"model {model}, seed {seed}: {_short(results[-1])}", flush=True)
    about = coverage(arguments, out)
    files.write_json(out / "results.json", {"settings": kept, "about": about, "runs": results})
    text = table(results, about, arguments.epochs)
    with files.atomic(out / "models.md") as file:
        file.write(text)
    print(f"\n{text}\n{out / 'results.json'}  {out / 'models.md'}")


def prepare(arguments: argparse.Namespace, out: Path) -> None:
    """Scattered tags, records with both kinds of tags, word vectors and dictionary; what is there already stays."""
    import csv

    from benchmarks import folksonomy
    from orpheus.data.records import format, shards
    from orpheus.data.tags.database import TagDatabase

    data = Path(arguments.data)
    if not (data / "tracks.csv").is_file() or not (data / "tags.db").is_file():
        raise DataError(f"{data}: holds no tracks.csv or no tags.db; give the data set with --data")
    with open(data / "tracks.csv", encoding="utf-8", newline="") as file:
        tracks = list(csv.DictReader(file))
    tracks = tracks[:: max(1, len(tracks) // 160)] if arguments.smoke else tracks
    true = TagDatabase(data / "tags.db").tags_of_all([row["track_id"] for row in tracks])
    given = folksonomy.scatter(true, seed=SCATTER_SEED)
    for name, tags in (("given.db", given), ("true.db", true)):
        if not (out / name).exists():
            TagDatabase.write(
                out / name, ((track, tag, 100.0) for track, row in tags.items() for tag in row), tracks=tags
            )
    with files.atomic(out / "tracks.csv") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["track_id", "mp3_path", "group"])
        writer.writerows([row["track_id"], (data / row["mp3_path"]).absolute(), row["group"]] for row in tracks)
    with files.atomic(out / "filter" / "tags_remove.txt") as file:
        file.write("\n".join(folksonomy.MEANINGLESS) + "\n")
    files.write_json(
        out / "config.json", {**CONFIG, "model-training": {**CONFIG["model-training"], "log_dir": str(out / "runs")}}
    )
    folder = out / "records"
    call(
        "tools.preprocess",
        "log-mel-spectrogram",
        folder,
        "--csv-path",
        out / "tracks.csv",
        "--tag-path-multi",
        out / "given.db",
        out / "true.db",
        "-n",
        N_SHARDS,
    )
    train, _, _ = shards.split_shards(format.shard_names(folder), CONFIG["model-training"]["split"])
    rows = [row for row in files.read_jsonl(folder / "manifest.jsonl") if row["shard"] in train]
    lists = out / "train.jsonl"
    with files.atomic(lists) as file:
        file.writelines(json.dumps({"id": row["id"], "tags": row["tags_0"]}) + "\n" for row in rows)
    threshold, clusters = (1, 30) if arguments.smoke else (THRESHOLD, N_CLUSTERS)
    if not (out / "vectors.txt").exists():
        call("tools.train_word_vectors", "--tags", lists, "--out", out / "vectors.txt", *VECTORS)
    if not (out / "dictionary").exists():
        call(
            "tools.cluster_tags",
            "kmeans",
            "--tags",
            lists,
            "--embedding",
            "word2vec",
            out / "vectors.txt",
            "--threshold",
            threshold,
            "--n-clusters",
            clusters,
            "--top",
            TOP,
            "--filter-path",
            out / "filter",
            "--name",
            "made",
            "--out",
            out / "made",
        )
        (out / "made" / "made" / f"{threshold}_models").rename(out / "dictionary")


def run(model: str, seed: int, arguments: argparse.Namespace, out: Path) -> dict[str, Any]:
    """Train one model and evaluate it."""
    options: list[object] = []
    if model in "25":
        options += ["--filter", "--filter-path", out / "filter"]
    if model == "3":
        options += ["--dictionary-dir", out / "dictionary"]
    if model == "5":
        vectors = arguments.vectors or out / "vectors.txt"
        options += ["--custom-loss-embeddings-path", vectors, "--gamma", arguments.gamma, "--min-coverage", 0]
    started = time.monotonic()
    folder = call(
        "orpheus.train",
        "log-mel-spectrogram",
        "--config",
        out / "config.json",
        "--tfrecords-dir",
        out / "records",
        "--multi-db",
        2,
        "--multi-db-default",
        0,
        "--epochs",
        arguments.epochs,
        "--seed",
        seed,
        *options,
    )
    return {
        "model": model,
        "seed": seed,
        "run": folder,
        "seconds": time.monotonic() - started,
        **evaluate(Path(folder)),
    }


def evaluate(folder: Path) -> dict[str, Any]:
    """A run by its own classes, and by the true tags, on the test split."""
    import keras

    from benchmarks import folksonomy
    from orpheus.data.batches.split_records import SplitRecords
    from orpheus.data.tags import targets
    from orpheus.learning.evaluation import areas
    from orpheus.runs.folder import Run
    from orpheus.tasks.tagging import cluster_comparison
    from orpheus.tasks.tagging.data import reopen_data

    run = Run.open(folder)
    data = reopen_data(run)
    rows = data.catalogue.rows(data.catalogue.shards)
    true = targets.choose(targets.popularity(row.tags[1] for row in rows), top=TRUE_TAGS)
    records = SplitRecords(data.catalogue, data.split["test"], true, 1)
    scores = cluster_comparison.track_scores(run, records)
    own_truth = data.targets.matrix([row.tags[0] for row in records.rows()])
    has_any = own_truth.any(axis=1)  # as orpheus.evaluate: tracks without any of the classes are left out
    own = areas.summarise(own_truth[has_any], scores[has_any], data.targets.classes)
    mapped, held = true_scores(scores, data.targets.columns, folksonomy.canonical(), true.classes)
    by_true = areas.summarise(records.truth(), mapped, true.classes)
    found = [name for name, holds in zip(true.classes, held, strict=True) if holds]
    keras.utils.clear_session()
    return {
        "classes": len(data.targets.classes),
        "train_tracks": len(data.records_of("train").rows()),
        "own": {key: own[key] for key in ("tracks", "macro", "micro")},
        "true": {key: by_true[key] for key in ("tracks", "macro", "micro", "per_class")},
        "held": found,
    }


def true_scores(scores, columns: dict[str, int], meaning: dict[str, str], names: tuple[str, ...]):
    """Scores of true tags out of those of classes: the highest of the classes that hold one of a tag's spellings.

    Args:
        scores: (tracks, classes).
        columns: Spelling → class.
        meaning: Spelling → true tag; a spelling that is missing stands for itself.
        names: True tags.

    Returns:
        (tracks, len(names)) and, per name, whether any class holds it; where none does, all scores are 0.
    """
    import numpy as np

    classes = [
        sorted({c for spelling, c in columns.items() if meaning.get(spelling, spelling) == name}) for name in names
    ]
    found = [scores[:, c].max(axis=1) if c else np.zeros(len(scores), scores.dtype) for c in classes]
    return np.stack(found, axis=1), [bool(c) for c in classes]


def coverage(arguments: argparse.Namespace, out: Path) -> dict[str, Any]:
    """What the given tags are, and how many of the frequent ones have a word vector, in GloVe's file and in ours."""
    from benchmarks import folksonomy
    from orpheus.data.tags.targets import popularity
    from orpheus.semantics import dictionary, words

    rows = files.read_jsonl(out / "train.jsonl")
    frequent = [tag for tag, count in popularity(row["tags"] for row in rows) if count > THRESHOLD]
    clusters = dictionary.load(out / "dictionary")
    meaning = folksonomy.canonical()
    pure = sum(len({meaning.get(tag, tag) for tag in tags}) == 1 for tags in clusters.clusters.values())
    about = {
        "given_tags": len({tag for row in rows for tag in row["tags"]}),
        "frequent": len(frequent),
        "clusters": len(clusters.clusters),
        "clustered_tags": len(clusters.tag_to_cluster),
        "pure_clusters": pure,
    }
    for name, path in (("trained", out / "vectors.txt"), ("glove", Path(arguments.glove))):
        if path.is_file():
            kept, _, _ = words.vectors_of_tags(frequent, words.load(path, words=words.needed_words(frequent)))
            about[name] = len(kept)
    return about


def table(results: list[dict], about: dict[str, Any], epochs: int) -> str:
    """Means ± standard deviations over seeds, and what they say, as markdown."""
    from benchmarks import folksonomy

    seeds = 1 + max(row["seed"] for row in results)
    tracks = results[0]["true"]["tracks"]
    lines = [
        "# Models 1, 2, 3 and 5 on scattered tags",
        "",
        _text(__doc__),
        "",
        _text(folksonomy.__doc__),
        "",
        f"{tracks} test tracks, {epochs} epochs, {seeds} seed(s); mean ± standard deviation over seeds. "
        f"{about['given_tags']} given tags in the training tracks, {about['frequent']} of them on more than {THRESHOLD} tracks. "
        f"{about['clusters']} clusters of {about['clustered_tags']} tags; in {about['pure_clusters']} all spell one true tag."
        + (f" The GloVe file here knows a word of {about['glove']} of the frequent tags." if "glove" in about else ""),
    ]
    everywhere = set.intersection(*(set(row["held"]) for row in results))
    for title, key in (
        (f"By the {TRUE_TAGS} true tags, the common yardstick", "true"),
        ("By each model's own classes, which differ", "own"),
    ):
        heads = ["model", "classes", "macro PR-AUC", "macro ROC-AUC", "micro PR-AUC", "micro ROC-AUC"]
        heads += ["true tags held", f"macro PR-AUC of the {len(everywhere)} that all hold"] if key == "true" else []
        lines += ["", f"**{title}**", "", f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
        for model in sorted({row["model"] for row in results}):
            mine = [row for row in results if row["model"] == model]
            cells = [NAMES[model], str(mine[0]["classes"])]
            cells += [
                _spread([row[key][mean][area] for row in mine])
                for mean in ("macro", "micro")
                for area in ("pr_auc", "roc_auc")
            ]
            if key == "true":
                held = [
                    [row["true"]["per_class"][name]["pr_auc"] or 0.0 for name in sorted(everywhere)] for row in mine
                ]
                cells += [str(len(mine[0]["held"])), _spread([statistics.mean(values) for values in held])]
            lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "**What helps, by the true tags**", ""]
    lines += [
        f"- {line}"
        for line in (difference(results, "2", "1"), difference(results, "3", "2"), difference(results, "5", "2"))
        if line
    ]
    return "\n".join(lines) + "\n"


def difference(results: list[dict], model: str, base: str) -> str:
    """Macro PR-AUC of true tags, one model less another, run by run of one seed; empty where one is missing.

    It is called a difference where a paired t-test over the seeds has p < 0.05. That knows of other weights and orders,
    not of other test tracks.
    """
    from scipy import stats

    ours, theirs = ({row["seed"]: row["true"] for row in results if row["model"] == name} for name in (model, base))
    seeds = sorted(set(ours) & set(theirs))
    if not seeds:
        return ""
    values = [ours[seed]["macro"]["pr_auc"] - theirs[seed]["macro"]["pr_auc"] for seed in seeds]
    mean = statistics.mean(values)
    clear = len(values) > 1 and stats.ttest_1samp(values, 0).pvalue < 0.05
    verdict = ("better" if mean > 0 else "worse") if clear else "no difference that the seeds do not explain"
    tags = {
        tag: statistics.mean(
            (ours[s]["per_class"][tag]["pr_auc"] or 0) - (theirs[s]["per_class"][tag]["pr_auc"] or 0) for s in seeds
        )
        for tag in ours[seeds[0]]["per_class"]
    }
    order = sorted(tags, key=lambda tag: -tags[tag])
    most, least = (", ".join(f"{tag} {tags[tag]:+.2f}" for tag in part) for part in (order[:4], order[:-5:-1]))
    return (
        f"Model {model} against Model {base}: {mean:+.3f} ± {statistics.stdev(values) if len(values) > 1 else 0:.3f} over "
        f"{len(seeds)} pair(s) of runs, {verdict}. {sum(gain > 0 for gain in tags.values())} of {len(tags)} tags gain. "
        f"Most: {most}. Least: {least}."
    )


def _text(docstring: str) -> str:
    """A docstring's paragraphs, each on one line."""
    return "\n\n".join(" ".join(part.split()) for part in docstring.strip().split("\n\n"))


def _spread(values: list[float]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.3f} ± {deviation:.3f}"


def _short(row: dict) -> str:
    true, own = row["true"]["macro"], row["own"]["macro"]
    return f"true tags macro PR-AUC {true['pr_auc']:.3f}, own classes {own['pr_auc']:.3f}, {row['seconds']:.0f} s"


def main(argv: list[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
