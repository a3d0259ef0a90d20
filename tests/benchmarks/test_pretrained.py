"""benchmarks.pretrained: which side decides, and what the tables say, on made-up clips."""

import numpy as np
import pytest

from benchmarks import pretrained

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results():
    rng = np.random.default_rng(0)
    truth = {side: rng.random((count, 3)) < 0.4 for side, count in zip(pretrained.SIDES, (120, 60, 60), strict=True)}
    ids = {side: [f"{side}{n}" for n in range(len(rows))] for side, rows in truth.items()}
    sides = pretrained.Sides(ids, truth, ("a", "b", "c"))

    def vectors(weight, width):
        return {
            clip: np.concatenate([weight * row, np.zeros(width - 3)]) + rng.normal(size=width)
            for side in ids
            for clip, row in zip(ids[side], truth[side], strict=True)
        }

    weights = {("MTT_musicnn", "pooled"): 3, ("MSD_musicnn", "pooled"): 3, ("MTT_vgg", "embedding"): 0}
    features = {name: vectors(weight, 8) for name, weight in weights.items()}
    bands = {side: rng.normal(size=(len(ids[side]), 4)) for side in ids}
    cnn = [{s: truth[s] + rng.normal(size=truth[s].shape) for s in pretrained.SIDES[1:]} for _ in range(2)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrained, "SHARES", (0.2, 1.0))
        noise = lambda share, drawn, seed: cnn[seed]  # noqa: E731
        networks = {pretrained.CNN: noise, "frozen": noise}
        return pretrained.measure(sides, features, bands, cnn, networks, seeds=2)


def test_the_features_that_know_are_the_best(results):
    rows = {row["model"]: row for row in results["whole"]}
    assert results["best"].startswith("probe: both musicnn, pooled") and "means" not in results["best"]  # half is noise
    pr = {name: np.mean([one["pr_auc"] for one in row["seeds"]]) for name, row in rows.items()}
    assert pr[results["best"]] > 0.95 > 0.65 > pr["probe: MTT_vgg embedding"]
    assert len(rows["log-mel CNN from scratch"]["seeds"]) == 2
    average = rows[f"average of the CNN and {results['best']}"]
    low, high = (bound[1] for bound in average["gain"])
    assert 0 < low < pr[average["model"]] - pr["log-mel CNN from scratch"] < high
    assert rows["log-mel CNN from scratch"]["gain"][0][1] == rows["log-mel CNN from scratch"]["gain"][1][1] == 0


def test_few_clips(results):
    models = len({row["model"] for row in results["few"]})
    assert models == 6 + 1 + 2 + 1  # probes, trees, networks, average
    assert [(row["seed"], row["clips"]) for row in results["few"]] == [(0, 24)] * models + [(1, 24)] * models


def test_tables(results):
    shown = pretrained.tables(results)
    assert "| log-mel CNN from scratch | 2 |" in shown and "| macro PR-AUC with | 20%, 24 clips | all |" in shown
    last = shown.splitlines()[-1]
    assert last.startswith("| average of the CNN and probe: both musicnn") and last.count("±") == 2
