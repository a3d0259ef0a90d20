"""The recommendation demo over several data seeds: how its factorisation's confidence and regularisation were chosen, by plays
held out of the training items, and whether its network beats the nearest neighbours, by the test artists."""

import argparse
import itertools
import statistics
import sys
import tempfile
from pathlib import Path

from orpheus.base import cli

ALPHAS, REGULARIZATIONS = (0.3, 1.0, 3.0, 10.0, 40.0), (0.1, 1.0, 3.0, 10.0)
REFERENCE = (
    "output.l2=true",
    "model-training.loss=cosine",
    "inputs.biography.dense=[512,512]",
    "inputs.biography.dropout=0.5",
)


def parser() -> cli.Parser:
    result = cli.parser(
        "benchmarks.listening_demo",
        "For each data seed: ALS by held-out plays over a grid of its confidence and regularisation; and the demo's recommender, "
        "as it is and with the network, factors and loss of music_recommender, beside the baselines. Prints Markdown tables.",
        example="python -m benchmarks.listening_demo --seeds 0 1 2",
    )
    result.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="of the made-up data")
    result.add_argument("--grid-only", action="store_true", help="the factorisations alone: seconds")
    return result


def body(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        grid: dict[tuple[float, float], list[float]] = {}
        rows: dict[str, list[float]] = {}
        for seed in arguments.seeds:
            _held_out_plays(Path(folder) / f"grid-{seed}", seed, grid)
        if not arguments.grid_only:
            _test(Path(folder), arguments.seeds, rows)
        print(f"| MAP of held-out plays | {' | '.join(f'λ {value:g}' for value in REGULARIZATIONS)} |")
        print(f"| --- | {' | '.join('---' for _ in REGULARIZATIONS)} |")
        for alpha in ALPHAS:
            cells = [f"{statistics.mean(grid[alpha, value]):.4f}" for value in REGULARIZATIONS]
            print(f"| α {alpha:g} | {' | '.join(cells)} |")
        print()
        if rows:
            print(f"| MAP@500 of test artists | mean | {' | '.join(f'seed {seed}' for seed in arguments.seeds)} |")
            print(f"| --- | --- | {' | '.join('---' for _ in arguments.seeds)} |")
        for name, values in rows.items():
            print(f"| {name} | {statistics.mean(values):.4f} | {' | '.join(f'{value:.4f}' for value in values)} |")


def _held_out_plays(root: Path, seed: int, grid: dict[tuple[float, float], list[float]]) -> None:
    """MAP of a fifth of the plays of training and validation artists, ranked by factors of the others."""
    import numpy as np
    import scipy.sparse

    from orpheus.data.items import tables
    from orpheus.learning.evaluation.lists import evaluate_lists
    from orpheus.learning.vectors import factorisation
    from orpheus.tasks.recommendation import demo

    folder = demo.write(root, seed=seed)
    plays = scipy.sparse.vstack([tables.counts(folder, one).matrix for one in ("train", "val")]).T.tocoo()
    out = np.random.default_rng(seed).random(plays.nnz) < 0.2

    def part(chosen):
        cells = (plays.row[chosen], plays.col[chosen])
        return scipy.sparse.csr_matrix((plays.data[chosen], cells), shape=plays.shape)

    known, held_out = part(~out), part(out)
    for alpha, regularization in itertools.product(ALPHAS, REGULARIZATIONS):
        confidence = factorisation.confidence(known, alpha=alpha)
        found = factorisation.als(confidence, demo.DIM, regularization=regularization, seed=seed, threads=1)
        scores = found.others @ found.items.T
        scores[known.nonzero()] = scores.min() - 1  # what is known goes last
        result = evaluate_lists(lambda start, stop, scores=scores: scores[start:stop], held_out, k=500, roc=False)
        grid.setdefault((alpha, regularization), []).append(result["mean"]["MAP@500"])


def _test(root: Path, seeds: list[int], rows: dict[str, list[float]]) -> None:
    """The demo's recommender and the reference's, and what needs no training; each training is said on stderr."""
    from orpheus.tasks.recommendation import demo, fitting, metrics, recommender

    older = {"alpha": 40.0, "regularization": 0.1}
    variants = {
        "the demo": ({}, demo.OVERRIDES),
        "music_recommender as it is, α 40, λ 0.1": (older, REFERENCE),
        "the demo's network, α 40, λ 0.1": (older, demo.OVERRIDES),
    }
    for number, (name, (factors, overrides)) in enumerate(variants.items()):
        for seed in seeds:
            folder = demo.write(root / f"{seed}-{number}", seed=seed, **factors)
            run = fitting.train(
                folder.root,
                demo.SETTINGS,
                experiment=demo.EXPERIMENT,
                overrides=overrides,
                command="benchmarks.listening_demo",
                say=lambda line: None,
            )
            rows.setdefault(name, []).append(run.metrics()["test"]["mean"]["MAP@500"])
            print(f"{name}, seed {seed}: {rows[name][-1]:.4f}", file=sys.stderr, flush=True)
            if number == 0:
                data = recommender.MusicRecommender(run.folder).data
                for baseline, scores in metrics.compare(data).items():
                    rows.setdefault(baseline, []).append(scores["mean"]["MAP@500"])
                    print(f"{baseline}, seed {seed}: {rows[baseline][-1]:.4f}", file=sys.stderr, flush=True)


def main(argv: list[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
