"""What the embedding-aware loss buys and costs, by its strength γ and by its word vectors, on scattered tags.

The tags and tracks are those of benchmarks.models; Model 2 (binary cross-entropy) stands beside Model 5 with each γ. Three
quantities on the test tracks: macro PR-AUC, by the true tags and by the given ones; how near in meaning the most certain
mistake is, the class of the highest score that no listener gave (its largest cosine with the given tags, by the vectors of
the training tracks' tag lists, and how often it spells a true tag of the track); and the mean rank of the true synonyms, the
classes that spell a true tag and were not given, among all that were not given. Vectors for the loss: of the training tracks'
tag lists, or of MTG-Jamendo's, which share no track with the test. Finished runs are kept; a second call goes on.
"""

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import models
from benchmarks.philharmonia import call
from orpheus.base import cli, files
from orpheus.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np

GAMMAS = (0.1, 0.3, 1.0, 3.0)
SOURCES = ("training", "jamendo")
HEADS = {
    "true": "PR-AUC, true tags",
    "own": "PR-AUC, given tags",
    "similarity": "cosine of the top mistake",
    "meant": "top mistakes that are true",
    "rank": "mean rank of true synonyms",
}


def parser() -> cli.Parser:
    result = cli.parser(
        "benchmarks.gamma", __doc__.strip(), example="python -m benchmarks.gamma --seeds 3 --out out/gamma"
    )
    shared = Path(__file__).resolve().parents[2] / "shared" / "data"
    result.add_argument(
        "--data", default=str(shared / "philharmonia"), metavar="DIR", help="tracks.csv, tags.db, audio"
    )
    result.add_argument(
        "--jamendo", default=str(shared / "mtg-jamendo"), metavar="DIR", help="autotagging_*.tsv of MTG-Jamendo"
    )
    result.add_argument("--out", default="out/gamma", metavar="DIR", help="records, runs, results.json and gamma.md")
    result.add_argument(
        "--gammas", type=float, nargs="+", default=list(GAMMAS), metavar="G", help="strengths of the loss"
    )
    result.add_argument("--vectors", nargs="+", choices=SOURCES, default=list(SOURCES), help="for the loss")
    result.add_argument("--seeds", type=int, default=3, metavar="N", help="runs of each kind")
    result.add_argument("--epochs", type=int, default=12, metavar="N", help="of each run")
    result.add_argument("--smoke", action="store_true", help="160 tracks, one seed, one epoch: does it run?")
    return result


def body(arguments: argparse.Namespace) -> None:
    if arguments.smoke:
        arguments.seeds, arguments.epochs = 1, 1
    if arguments.seeds < 1 or arguments.epochs < 1 or min(arguments.gammas) <= 0:
        raise ConfigError("--seeds, --epochs and --gammas must be above 0")
    out = Path(arguments.out)
    models.prepare(arguments, out)
    vectors = {"training": out / "vectors.txt"}
    if "jamendo" in arguments.vectors:
        vectors["jamendo"] = _jamendo(Path(arguments.jamendo), out)
    kinds = [(None, None), *((source, gamma) for source in arguments.vectors for gamma in arguments.gammas)]
    rows = []
    for seed in range(arguments.seeds):
        for source, gamma in kinds:
            note = out / "results" / f"{source or 'without'}-{gamma or 0:g}-{arguments.epochs}-{seed}.json"
            if not note.exists():
                mine = argparse.Namespace(**{**vars(arguments), "gamma": gamma, "vectors": source and vectors[source]})
                found = models.run("2" if source is None else "5", seed, mine, out)
                areas = {key: found[key]["macro"]["pr_auc"] for key in ("true", "own")}
                files.write_json(note, {**areas, **_measured(found["run"], vectors["training"]), "run": found["run"]})
            rows.append({"vectors": source, "gamma": gamma, "seed": seed, **files.read_json(note)})
            print({key: rows[-1][key] for key in ("vectors", "gamma", "seed", *HEADS)}, flush=True)
    files.write_json(out / "results.json", rows)
    text = table(rows)
    with files.atomic(out / "gamma.md") as file:
        file.write(text + "\n")
    print(f"\n{text}")


def _jamendo(folder: Path, out: Path) -> Path:
    """Word vectors of MTG-Jamendo's tag lists."""
    path, lists = out / "jamendo.txt", sorted(folder.glob("autotagging_*-*.tsv"))
    if not lists:
        raise DataError(f"{folder}: holds no autotagging_*.tsv; give MTG-Jamendo's lists with --jamendo")
    if not path.exists():
        call("tools.train_word_vectors", "--tags", *lists, "--out", path, *models.VECTORS)
    return path


def _measured(folder: str, source: Path) -> dict[str, float]:
    """Similarity of the top mistakes and rank of the true synonyms, of a run on its test tracks."""
    import keras

    from benchmarks import folksonomy
    from orpheus.data.batches.split_records import SplitRecords
    from orpheus.runs.folder import Run
    from orpheus.semantics import words
    from orpheus.tasks.tagging import cluster_comparison, similarity_loss
    from orpheus.tasks.tagging.data import reopen_data

    run = Run.open(folder)
    data = reopen_data(run)
    part = SplitRecords(data.catalogue, data.split["test"], data.targets, 0)
    meaning = folksonomy.canonical()
    true = [set(row.tags[1]) for row in part.rows()]
    meant = [[meaning.get(name, name) in tags for name in data.targets.classes] for tags in true]
    vectors = similarity_loss.class_vectors(
        data.targets, words.load(source, words=words.needed_words(list(data.targets.columns)))
    )
    found = quantities(cluster_comparison.track_scores(run, part), part.truth() > 0, meant, vectors)
    keras.utils.clear_session()
    return found


def quantities(
    scores: "np.ndarray", given: "np.ndarray", meant: "Sequence[Sequence[bool]]", vectors: "np.ndarray"
) -> dict[str, float]:
    """What a model's mistakes mean.

    Args:
        scores: (tracks, classes).
        given: (tracks, classes) bool, by listeners.
        meant: (tracks, classes) bool, whether the class spells a true tag.
        vectors: (classes, d) of length 1, nan where a class has none.

    Returns:
        ``similarity``: mean over tracks of the largest cosine of the top mistake, the class of the highest score that was
        not given, with the given ones; where either has no vector the track is left out. ``meant``: share of tracks whose
        top mistake spells a true tag. ``rank``: mean over tracks of the mean rank, from 1, of the classes that are meant and
        not given among those not given.
    """
    import numpy as np

    wrong, meant = ~given, np.asarray(meant, bool)
    rows = np.flatnonzero(given.any(axis=1) & wrong.any(axis=1))
    top = np.where(wrong, scores, -np.inf).argmax(axis=1)
    cosines = np.where(given, (vectors @ vectors.T)[top], -np.inf)
    nearest = np.max(np.where(np.isnan(cosines), -np.inf, cosines), axis=1)[rows]
    order = np.argsort(np.argsort(-np.where(wrong, scores, -np.inf), axis=1, kind="stable"), axis=1) + 1
    synonyms = meant & wrong
    ranks = [order[row, synonyms[row]].mean() for row in rows if synonyms[row].any()]
    return {
        "similarity": float(nearest[np.isfinite(nearest)].mean()),
        "meant": float(meant[rows, top[rows]].mean()),
        "rank": float(np.mean(ranks)),
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Means ± deviations over seeds, as markdown."""
    lines = [f"| vectors of the loss | γ | {' | '.join(HEADS.values())} |", "|---" * (2 + len(HEADS)) + "|"]
    for source, gamma in dict.fromkeys((row["vectors"], row["gamma"]) for row in rows):
        mine = [row for row in rows if (row["vectors"], row["gamma"]) == (source, gamma)]
        cells = []
        for key in HEADS:
            values = [row[key] for row in mine]
            digits = 1 if key == "rank" else 3
            spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.{digits}f}{spread}")
        lines.append(
            f"| {source or 'none: binary cross-entropy'} | {'' if gamma is None else gamma} | {' | '.join(cells)} |"
        )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
