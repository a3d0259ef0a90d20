"""Cold-start recommendation on Last.fm (HetRec 2011): from the importer to MAP@500 in one command.

For each seed: artists are split into train, val and test, tags become TF-IDF vectors and mean word2vec vectors, ALS
factorises the counts of train and val artists, three networks learn factors from features, and the test artists,
which neither has seen, are ranked for every user. Prints a Markdown table and writes DATA/hetrec.md and hetrec.json.
"""

import argparse
import itertools
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from orpheus.base import cli, files
from orpheus.errors import ConfigError, DataError

METRICS = ("MAP@500", "P@10", "nDCG@10", "ROC")
LAYER = "joined_dropout"  # the vector of a network before its last layer
SMALL = ("--set", "model-training.batch_size=64")
EXPERIMENTS = {
    "TF-IDF of tags": ("rec_sparse", "tags"),
    "tag embeddings": ("rec_dense", "w2v-mean", "--set", "inputs.features.dense=[512,512]", *SMALL),
    "multimodal": ("rec_multi", f"model_1-pred_{LAYER}", f"model_2-pred_{LAYER}", *SMALL),
}


def parser() -> cli.Parser:
    result = cli.parser(
        "benchmarks.hetrec",
        "Import HetRec 2011, factorise, train three networks, and compare them with the baselines on held-out artists.",
        example="python -m benchmarks.hetrec --seeds 1 2 3",
    )
    default = Path(__file__).resolve().parents[2] / "shared" / "data" / "hetrec2011-lastfm-2k"
    result.add_argument("--source", default=str(default), metavar="DIR", help="the .dat files")
    result.add_argument("--data-dir", default="runs/hetrec", metavar="DIR", help="a folder seed-N for each seed")
    result.add_argument(
        "--seeds", type=int, nargs="+", default=[1], metavar="N", help="of splits, factors and networks"
    )
    result.add_argument("--epochs", type=int, default=100, metavar="N", help="at most, of each network")
    result.add_argument("--dim", type=int, default=200, metavar="N", help="number of factors")
    return result


def body(arguments: argparse.Namespace) -> None:
    if not Path(arguments.source).is_dir():
        raise DataError(f"{arguments.source}: no such folder; give that of the .dat files with --source")
    if len(set(arguments.seeds)) < len(arguments.seeds):
        raise ConfigError(f"--seeds {arguments.seeds}: each once")
    root = Path(arguments.data_dir)
    found, seconds = {}, {}
    for seed in arguments.seeds:
        began = time.monotonic()
        found[seed] = one(root / f"seed-{seed}", arguments, seed)
        seconds[seed] = time.monotonic() - began
        files.write_json(root / "hetrec.json", {str(key): value for key, value in found.items()})
    text = (
        table(found) + "\n\n" + "; ".join(f"seed {seed}: {value / 60:.1f} minutes" for seed, value in seconds.items())
    )
    with files.atomic(root / "hetrec.md") as file:
        file.write(text + "\n")
    print(text)


def one(folder: Path, arguments: argparse.Namespace, seed: int) -> dict[str, dict]:
    """All steps with one seed; returns name → scores, models before baselines."""
    shutil.rmtree(folder, ignore_errors=True)
    data = ("--data-dir", folder, "--dataset", "HET")
    call("tools.import_hetrec", arguments.source, *data, "--seed", seed)
    call("tools.text", "tfidf", *data, "--setting", "tags")
    call("tools.text", "word2vec", *data, "--setting", "w2v", "--mean", "--seed", seed)
    call("tools.factorize", "als", *data, "--dim", arguments.dim, "--seed", seed, "--upper-bound")
    result = {}
    for number, (name, (experiment, *rest)) in enumerate(EXPERIMENTS.items(), 1):
        began = time.monotonic()
        if experiment == "rec_multi":  # on what the two networks before it have learned, as in the paper
            for model, subset in itertools.product(("model_1", "model_2"), ("train", "val", "test")):
                call("orpheus.predict", model, "-l", LAYER, "-s", subset, "--data-dir", folder)
        call(
            "orpheus.experiment",
            experiment,
            *rest,
            "--set",
            "data.dataset=HET",
            "--set",
            f"data.dim={arguments.dim}",
            "--epochs",
            arguments.epochs,
            "--seed",
            seed,
            "--data-dir",
            folder,
            *["--baselines"] * (number < 3),
        )
        scores = json.loads((folder / "models" / f"model_{number}" / "metrics.json").read_text())["test"]
        result[name] = scores
        scores["minutes"] = (time.monotonic() - began) / 60
    first, second = (result[name].pop("baselines") for name in list(EXPERIMENTS)[:2])
    near = "nearest neighbours"
    renamed = {f"{near}, TF-IDF": first.pop(near), f"{near}, tag embeddings": second[near]}
    return {**result, **renamed, **first}


def call(module: str, *arguments: object) -> None:
    """Run a command in a process of its own; its errors end this one."""
    line = [sys.executable, "-m", module, *map(str, arguments)]
    print("python -m", *line[2:], flush=True)
    done = subprocess.run(line, text=True, capture_output=True)
    if done.returncode:
        raise DataError(f"{module}: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else done.returncode}")


def table(found: dict[int, dict[str, dict]]) -> str:
    """Markdown: a row per method, means over the seeds; intervals of MAP for each seed."""
    seeds = list(found)
    lines = [
        f"| method | {' | '.join(METRICS)} | {' | '.join(f'MAP@500 of seed {seed}, 95 %' for seed in seeds)} |",
        f"| --- | {' | '.join(['---'] * (len(METRICS) + len(seeds)))} |",
    ]
    for name in found[seeds[0]]:
        means = [sum(found[seed][name]["mean"][metric] for seed in seeds) / len(seeds) for metric in METRICS]
        spans = []
        for seed in seeds:
            low, high = found[seed][name]["intervals"]["MAP@500"]
            spans.append(f"{found[seed][name]['mean']['MAP@500']:.4f} [{low:.4f}, {high:.4f}]")
        lines.append(f"| {name} | {' | '.join(f'{mean:.4f}' for mean in means)} | {' | '.join(spans)} |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
