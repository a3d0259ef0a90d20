"""Published taggers on the Philharmonia's clips: linear probes on their features, few clips, and averages with a CNN."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import philharmonia
from benchmarks.pretrained_networks import CNN, FRONTEND, SIDES, Learner, Scores, kept, learners
from orpheus.base import cli, files
from orpheus.errors import ConfigError, DataError

MODELS = ("MTT_musicnn", "MSD_musicnn", "MTT_vgg", "MSD_vgg")
MUSICNN = MODELS[:2]
REGULARISATIONS = (1.0, 0.1, 0.01)
SHARES = (0.01, 0.05, 0.2, 1.0)
TREES = "gradient-boosted trees on log-mel bands"


class Sides(NamedTuple):
    """Clips and annotations, side by side; the sides are those of benchmarks.philharmonia."""

    ids: dict[str, list[str]]
    truth: dict[str, np.ndarray]
    classes: tuple[str, ...]


def parser() -> cli.Parser:
    result = cli.parser(
        "benchmarks.pretrained",
        "Features of the published taggers (tools.pretrained, orpheus.predict -l) under logistic regression, one of them "
        "frozen under a new layer of tags (--init-from --freeze), gradient-boosted trees on log-mel bands, and the log-mel CNN "
        "from scratch, on held-out pitches of the Philharmonia; averages of scores; and 1, 5, 20 and 100 % of the training "
        "clips. Finished steps are kept; a second call goes on.",
        example="python -m benchmarks.pretrained --out out/pretrained",
    )
    result.add_argument(
        "--data", default=str(philharmonia.DATA), metavar="DIR", help="folder with tracks.csv, tags.db, audio"
    )
    result.add_argument("--out", default="out/pretrained", metavar="DIR", help="records, runs, features, results.json")
    result.add_argument("--wheel", metavar="FILE", help="of the published taggers, see tools.pretrained")
    result.add_argument("--epochs", type=int, default=40, metavar="N", help="of the CNN")
    result.add_argument("--seeds", type=int, default=3, metavar="N", help="CNNs, and draws of few clips")
    result.add_argument(
        "--only", default="", metavar="TEXT", help="probe only the features whose name has it, for example maxima"
    )
    result.add_argument(
        "--without-few", action="store_true", help="without trees, and without few clips: a quarter of the time"
    )
    result.add_argument(
        "--cnn", nargs="+", metavar="RUN", help="runs of it that are trained already, instead of training; of one split"
    )
    return result


def body(arguments: argparse.Namespace) -> int:
    data, out = Path(arguments.data), Path(arguments.out)
    if not (data / "tracks.csv").is_file():
        raise DataError(f"{data}: the Philharmonia's clips are not there; give their folder with --data")
    if arguments.seeds < 2:
        raise ConfigError(f"--seeds {arguments.seeds}: at least 2, whose spread is shown")
    features = {(model, layer): _features(model, layer, data, out, arguments.wheel) for model, layer in _layers()}
    runs = arguments.cnn or _trained(data, out, arguments.epochs, arguments.seeds)
    sides, bands = _sides(runs[0])
    networks = {} if arguments.without_few else learners(runs[0], sides.ids, data, out)
    results = measure(
        sides,
        features,
        None if arguments.without_few else bands,
        [_scores_of(run, sides) for run in runs],
        networks,
        seeds=arguments.seeds,
        only=arguments.only,
        folder=out / "scores",
    )
    files.write_json(out / "results.json", results)
    print(tables(results))
    return 0


def _trained(data: Path, out: Path, epochs: int, seeds: int) -> list[str]:
    """Runs of the log-mel CNN, a seed each."""
    folder = philharmonia.records(FRONTEND, data, out)
    config = f"configs/{philharmonia.FORMATS[FRONTEND]}"
    return [
        philharmonia.trained(FRONTEND, config, folder, out / f"cnn-{seed}.json", epochs=epochs, seed=seed)["run"]
        for seed in range(seeds)
    ]


def _layers() -> list[tuple[str, str]]:
    """(model, layer) of all features."""
    return [*((model, "pooled") for model in MUSICNN), *((model, "embedding") for model in MODELS[2:])]


def _features(model: str, layer: str, data: Path, out: Path, wheel: str | None) -> dict[str, np.ndarray]:
    """Clip → mean over its windows, by the commands that anybody has."""
    from orpheus.data.items import tables as item_tables
    from orpheus.data.records.tracks import read_tracks

    path, run = out / f"{model}-{layer}.npz", out / "published" / model
    if not path.is_file():
        if not run.is_dir():
            philharmonia.call("tools.pretrained", model, "-o", run, *(["--wheel", wheel] if wheel else []))
        # One clip is an empty file: predict says so and ends with code 1.
        philharmonia.call("orpheus.predict", run, data / "audio", "-l", layer, "-o", path, codes=(0, 1))
    table = item_tables.read(path)
    stems = {Path(track.path).stem: track.track_id for track in read_tracks(data / "tracks.csv")}
    return {stems[name]: row for name, row in zip(table.ids, table.matrix, strict=True)}


def _sides(run: str) -> tuple[Sides, dict[str, np.ndarray]]:
    """The clips of a run's split, and the statistics of their log-mel bands."""
    from orpheus.runs.folder import Run
    from orpheus.tasks.tagging.data import reopen_data

    data = reopen_data(Run.open(run))
    ids = {side: [row.track_id for row in data.records_of(side).rows()] for side in SIDES}
    truth = {side: data.records_of(side).truth() for side in SIDES}
    return Sides(ids, truth, data.targets.classes), {side: philharmonia.band_statistics(data, side) for side in SIDES}


def _scores_of(run: str, sides: Sides) -> Scores:
    """A CNN's scores of validation and test, evaluated where they are not."""
    from orpheus.runs.folder import Run
    from orpheus.tasks.scores import Scores as Stored

    found = {}
    for side in SIDES[1:]:
        stored = Stored.load(Run.open(run), side)
        if stored is None:
            philharmonia.call("orpheus.evaluate", run, "--split", side, "--bootstrap", 0)
            stored = Stored.load(Run.open(run), side)
        if stored is None or list(stored.ids) != sides.ids[side]:
            raise DataError(f"{run}: its {side} clips are others; give runs of one split with --cnn")
        found[side] = stored.scores.astype(np.float64)
    return found


def measure(
    sides: Sides,
    features: Mapping[tuple[str, str], Mapping[str, np.ndarray]],
    bands: Mapping[str, np.ndarray] | None,
    cnn: Sequence[Scores],
    networks: Mapping[str, Learner],
    *,
    seeds: int,
    only: str = "",
    folder: Path | None = None,
) -> dict[str, Any]:
    """All figures.

    Args:
        sides: Clips and annotations of train, valid and test.
        features: (model, layer) → clip → vector.
        bands: Side → (clips, values) for the trees; None for neither trees nor few clips.
        cnn: Scores of CNNs from scratch, one per seed.
        networks: Name → what trains it on some clips; `CNN` is not asked for all of them.
        seeds: Draws of few training clips.
        only: What the names of the features to probe have in common.
        folder: Where scores are kept, and found by a second call; None: nowhere.

    Raises:
        ConfigError: no features have such a name.

    Returns:
        ``whole``: a row per model of all training clips; ``few``: a row per model, share and draw.
    """

    def of(*names: tuple[str, str], columns: slice = slice(None)) -> dict[str, np.ndarray]:
        return {
            side: np.concatenate(
                [np.stack([features[name][clip] for clip in ids])[:, columns] for name in names], axis=1
            )
            for side, ids in sides.ids.items()
        }

    pooled = [(model, "pooled") for model in MUSICNN]
    half = next(iter(features[pooled[0]].values())).shape[0] // 2  # maxima, then means
    inputs = {f"{model} {layer}": of((model, layer)) for model, layer in features}
    inputs["both musicnn, pooled"] = of(*pooled)
    inputs["both musicnn, pooled maxima"] = of(*pooled, columns=slice(half))
    inputs["both musicnn, pooled means"] = of(*pooled, columns=slice(half, None))

    inputs = {name: values for name, values in inputs.items() if only in name}
    if not inputs:
        raise ConfigError(f"--only {only}: no features have it in their name")

    def ask(name: str, learn: Learner, share: float, drawn: np.ndarray, seed: int) -> Scores:
        note = (
            folder / f"{name.replace(': ', '-').replace(', ', '-').replace(' ', '-')}-{share:g}-{seed}.npz"
            if folder
            else None
        )
        return kept(note, lambda: learn(share, drawn, seed))

    fixed: dict[str, Learner] = {  # the seed draws the clips alone
        f"probe: {name}": lambda share, drawn, seed, values=values: _probe(values, sides, drawn)
        for name, values in inputs.items()
    }
    if bands is not None:
        fixed[TREES] = lambda share, drawn, seed: _trees(bands, sides, drawn)
    every = np.arange(len(sides.ids["train"]))
    whole: dict[str, list[Scores]] = {}
    for name, learn in cli.progress(fixed.items(), desc="all clips", unit="model"):
        whole[name] = [ask(name, learn, 1.0, every, 0)]
    for name, learn in networks.items():
        if name != CNN:
            whole[name] = [ask(name, learn, 1.0, every, seed) for seed in range(seeds)]
    whole[CNN] = list(cnn)
    best = max(
        (name for name in whole if name.startswith("probe")), key=lambda name: _macro(whole[name][0], sides, "valid")
    )
    whole[f"average of the CNN and {best}"] = [_average(one, whole[best][0]) for one in cnn]
    if bands is not None:
        trees = whole[TREES][0]
        whole[f"average of the trees and {best}"] = [_average(trees, whole[best][0])]
        whole[f"average of the CNN, the trees and {best}"] = [_average(one, trees, whole[best][0]) for one in cnn]
    if len(cnn) > 1:
        whole["average of the CNNs of all seeds"] = [_average(*cnn)]
        whole[f"average of the CNNs of all seeds and {best}"] = [_average(_average(*cnn), whole[best][0])]
    few = [] if bands is None else _few(sides, {**fixed, **networks}, best, seeds, ask)
    return {"best": best, "whole": _rows(whole, sides, CNN), "few": few}


def _few(
    sides: Sides,
    models: Mapping[str, Learner],
    best: str,
    seeds: int,
    ask: Callable[..., Scores],
) -> list[dict[str, Any]]:
    """A row per share of the training clips, draw and model."""
    rows = []
    for share in SHARES[:-1]:
        for seed in cli.progress(range(seeds), desc=f"{share:.0%} of the clips", unit="draw"):
            count = max(2, round(share * len(sides.ids["train"])))
            drawn = np.sort(np.random.default_rng(seed).permutation(len(sides.ids["train"]))[:count])
            found = {name: ask(name, learn, share, drawn, seed) for name, learn in models.items()}
            if CNN in found:
                found[f"average of the CNN and {best}"] = _average(found[CNN], found[best])
            for name, scores in found.items():
                rows.append(
                    {"model": name, "share": share, "clips": count, "seed": seed, **_areas(scores, sides, "test")}
                )
    return rows


def _rows(whole: Mapping[str, Sequence[Scores]], sides: Sides, baseline: str) -> list[dict[str, Any]]:
    """A row per model: areas of each seed, and the interval of their mean's difference from the baseline's by clip.

    A model of one seed is compared with all of the baseline's, one of several with those.
    """
    from orpheus.learning.evaluation import bootstrap

    rows = []
    truth, clips = sides.truth["test"], sides.ids["test"]
    replicates = {name: [_replicates(one, truth, clips) for one in scores] for name, scores in whole.items()}
    for name, scores in whole.items():
        row: dict[str, Any] = {"model": name, "seeds": [_areas(one, sides, "test") for one in scores]}
        row["valid"] = float(np.mean([_macro(one, sides, "valid") for one in scores]))
        same = replicates[baseline][: len(scores)] if len(scores) > 1 else replicates[baseline]
        mine, theirs = (np.mean(one, axis=0) for one in (replicates[name], same))
        row["interval"] = [list(map(float, bound)) for bound in bootstrap.percentiles(mine)]
        row["gain"] = [list(map(float, bound)) for bound in bootstrap.percentiles(mine - theirs)]
        rows.append(row)
    return rows


def _replicates(scores: Scores, truth: np.ndarray, clips: Sequence[str]) -> np.ndarray:
    """(replicates, 2) macro ROC- and PR-AUC over clips drawn with replacement; paired by draw."""
    from orpheus.learning.evaluation import bootstrap

    return bootstrap.replicate_areas(truth, scores["test"], clips, n=1000).macro


def _probe(values: Mapping[str, np.ndarray], sides: Sides, rows: np.ndarray) -> Scores:
    """Logistic regression per tag on standardised features, its regularisation the best on the validation pitches."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(values["train"][rows])
    scaled = {side: scaler.transform(values[side]).astype(np.float32) for side in SIDES}
    found = [_per_tag(scaled, sides, rows, lambda c=c: LogisticRegression(C=c, max_iter=300)) for c in REGULARISATIONS]
    return max(found, key=lambda scores: _macro(scores, sides, "valid"))


def _trees(values: Mapping[str, np.ndarray], sides: Sides, rows: np.ndarray) -> Scores:
    """Gradient-boosted trees per tag."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    return _per_tag(values, sides, rows, lambda: HistGradientBoostingClassifier(random_state=0))


def _per_tag(values: Mapping[str, np.ndarray], sides: Sides, rows: Any, make: Callable[[], Any]) -> Scores:
    """Probabilities of a classifier per tag; those of a tag with one kind of label in the training stay 0."""
    found = {side: np.zeros(sides.truth[side].shape) for side in SIDES[1:]}
    for column in range(len(sides.classes)):
        labels = sides.truth["train"][rows, column]
        if labels.any() and not labels.all():
            model = make().fit(values["train"][rows], labels)
            for side, scores in found.items():
                scores[:, column] = model.predict_proba(values[side])[:, 1]
    return found


def _average(*scores: Scores) -> Scores:
    return {side: np.mean([one[side] for one in scores], axis=0) for side in SIDES[1:]}


def _areas(scores: Scores, sides: Sides, side: str) -> dict[str, float]:
    from orpheus.learning.evaluation import areas

    macro = areas.summarise(sides.truth[side], scores[side], sides.classes)["macro"]
    return {key: float(macro[key]) for key in ("roc_auc", "pr_auc")}


def _macro(scores: Scores, sides: Sides, side: str) -> float:
    return _areas(scores, sides, side)["pr_auc"]


def tables(results: Mapping[str, Any]) -> str:
    """The results as markdown tables."""
    lines = [
        "| model | seeds | macro ROC-AUC | macro PR-AUC | 95 % interval | PR-AUC above the CNN | PR-AUC, validation |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in results["whole"]:
        roc, pr = (_spread([one[key] for one in row["seeds"]]) for key in ("roc_auc", "pr_auc"))
        bounds, gain = (f"{row[key][0][1]:.3f} to {row[key][1][1]:.3f}" for key in ("interval", "gain"))
        lines.append(
            f"| {row['model']} | {len(row['seeds'])} | {roc} | {pr} | {bounds} | {gain} | {row['valid']:.4f} |"
        )
    if not results["few"]:
        return "\n".join(lines)
    shares = {row["share"]: row["clips"] for row in results["few"]}
    heads = [f"{share:.0%}, {clips} clips" for share, clips in shares.items()]
    lines += ["", f"| macro PR-AUC with | {' | '.join(heads)} | all |", "|---" * (len(heads) + 2) + "|"]
    all_ = {row["model"]: [one["pr_auc"] for one in row["seeds"]] for row in results["whole"]}
    for model in dict.fromkeys(row["model"] for row in results["few"]):
        values = [
            [row["pr_auc"] for row in results["few"] if (row["share"], row["model"]) == (share, model)]
            for share in shares
        ]
        lines.append(f"| {model} | {' | '.join(map(_spread, [*values, all_[model]]))} |")
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    """Mean ± deviation over seeds."""
    mean = f"{np.mean(values):.4f}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.4f}"


def main(argv: Sequence[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
