"""The scattering of tags, and how scores of classes become scores of true tags."""

from collections import Counter

import numpy as np
import pytest

from benchmarks import folksonomy, models


def test_a_spelling_stands_for_one_true_tag():
    spellings = [name for tag, others in folksonomy.SPELLINGS.items() for name in (tag, *others)]
    assert len(spellings) == len(set(spellings)) == len(folksonomy.canonical())
    assert not set(folksonomy.MEANINGLESS) & set(spellings)


def test_scatter_depends_on_the_seed_alone():
    tracks = {f"t{i}": ["cello", "loud", "rare"] for i in range(20)}
    assert folksonomy.scatter(tracks, seed=3) == folksonomy.scatter(dict(reversed(tracks.items())), seed=3)
    assert folksonomy.scatter(tracks, seed=3) != folksonomy.scatter(tracks, seed=4)


def test_scatter_has_the_shares_it_says():
    given = folksonomy.scatter({f"t{i}": ["cello", "rare"] for i in range(4000)})
    counts = Counter(tag for tags in given.values() for tag in tags)
    assert set(counts) == {"cello", *folksonomy.SPELLINGS["cello"], "rare", *folksonomy.MEANINGLESS}

    def at_least_once(share: float) -> float:
        """Probability over 1 to 4 listeners, equally likely, of whom each gives it with probability `share`."""
        return float(np.mean([1 - (1 - share) ** listeners for listeners in (1, 2, 3, 4)]))

    # Binomial standard deviation is below 0.008; tolerance 0.03.
    assert counts["rare"] / 4000 == pytest.approx(at_least_once(0.6), abs=0.03)
    zipf = [1 / k / sum(1 / k for k in range(1, 6)) for k in range(1, 6)]
    for tag, share in zip(("cello", *folksonomy.SPELLINGS["cello"]), zipf, strict=True):
        assert counts[tag] / 4000 == pytest.approx(at_least_once(0.6 * share), abs=0.03)


def test_true_scores_by_hand():
    scores = np.array([[0.1, 0.7, 0.3], [0.9, 0.2, 0.4]])
    columns = {"violoncello": 0, "Cello": 1, "loud": 2, "noisy": 2, "cello solo": 2}
    found, held = models.true_scores(scores, columns, folksonomy.canonical(), ("cello", "loud", "oboe", "cello solo"))
    assert found.tolist() == [[0.7, 0.3, 0, 0.3], [0.9, 0.4, 0, 0.4]]
    assert held == [True, True, False, True]


def test_difference_is_paired_and_plain():
    def row(model, seed, value):
        return {
            "model": model,
            "seed": seed,
            "true": {"macro": {"pr_auc": value}, "per_class": {"cello": {"pr_auc": value}}},
        }

    clear = [row("2", 0, 0.30), row("2", 1, 0.40), row("3", 0, 0.40), row("3", 1, 0.51)]
    assert "+0.105 ± 0.007 over 2 pair(s) of runs, better" in models.difference(clear, "3", "2")
    assert ", worse" in models.difference(clear, "2", "3")
    noise = [row("2", 0, 0.30), row("2", 1, 0.40), row("5", 0, 0.33), row("5", 1, 0.38)]
    assert "no difference that the seeds do not explain" in models.difference(noise, "5", "2")
    assert models.difference(noise, "3", "2") == ""
