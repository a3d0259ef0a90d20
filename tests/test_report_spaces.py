"""Reports on runs that rank songs for tags, retrieval's and joint ones: paired differences, three questions, calibration."""

import re

import numpy as np
import pytest
from scipy import sparse

from orpheus.errors import ConfigError, DataError
from orpheus.learning.evaluation import bootstrap, calibration
from orpheus.runs.folder import Run
from orpheus.tasks.joint import baselines, evaluation, metrics
from orpheus.tasks.report import calibration as calibration_section
from orpheus.tasks.report import page as report_page
from orpheus.tasks.report import reported_runs
from orpheus.tasks.retrieval import metrics as retrieval_metrics
from orpheus.tasks.scores import Scores
from tests.test_report import check_page, made_up_run

SONGS, LISTENERS = 90, 40
TAGS = ("rock", "<jazz>", "sad", "new")
IDS = np.array([f"S{i:03d}" for i in range(SONGS)])
ARTISTS = np.array([f"A{i // 3}" for i in range(SONGS)])


def world():
    """Chances of tags (songs, tags) and of plays (listeners, songs), and what came of them."""
    rng = np.random.default_rng(0)
    tags, plays = (1 / (1 + np.exp(-rng.normal(-1, 1.5, shape))) for shape in ((SONGS, 4), (LISTENERS, SONGS)))
    return tags, rng.random(tags.shape) < tags, plays, sparse.csr_matrix(rng.random(plays.shape) < plays * 0.3)


def noisy(values, noise, seed=1):
    return np.log(values / (1 - values)) + np.random.default_rng(seed).normal(0, noise, values.shape)


def write(run, task, result, scores, split="s", **config):
    # A joint run has songs without a tag besides: its split is another, that of its tagged songs is retrieval's.
    hashes = {"split": "j" * 64, "tagged": split * 64} if task == "joint" else {"split": split * 64}
    run.write("metrics", {"test": {"hashes": hashes, **result}})
    run.write("run", {"task": task, "frontend": "features", "hashes": hashes})
    run.write("config", config)
    run.write("history", [{"epoch": 1, "loss": 0.5, "val_MAP": 0.4}, {"epoch": 2, "loss": 0.4, "val_MAP": 0.5}])
    scores.save(run, "test")
    return run


def retrieval_run(folder, noise, *, split="s", zero_shot=("new",)):
    chances, labels, _, _ = world()
    tagged = labels.any(axis=1)
    labels, scores = labels[tagged], noisy(chances, noise).astype(np.float32)[tagged]
    hidden = np.isin(TAGS, zero_shot)
    result = retrieval_metrics.summarise(labels, scores, TAGS, zero_shot=hidden)
    result["intervals"] = retrieval_metrics.intervals(labels, scores, TAGS, ARTISTS[tagged], zero_shot=hidden, n=30)
    kept = Scores(tuple(IDS[tagged]), tuple(ARTISTS[tagged]), TAGS, labels, scores, "artist")
    return write(Run(folder), "retrieval", result, kept, split, retrieval={"zero_shot": list(zero_shot)})


def joint_run(folder, noise, *, listeners=range(LISTENERS)):
    chances, labels, plays, heard = world()
    scores = noisy(chances, noise).astype(np.float32)
    probabilities = (1 / (1 + np.exp(-scores))).astype(np.float32)
    own, rows = list(listeners), noisy(plays, noise)
    outputs = metrics.Outputs(scores, probabilities, lambda numbers: rows[np.array(own)[numbers]])
    truth = metrics.Truth(TAGS, labels, ARTISTS, heard[own])
    compared = baselines.outputs(truth, baselines.Learned(labels))
    result = metrics.evaluate(outputs, truth, baselines=compared, replicates=30, k=20)
    run = Run(folder)
    folder.mkdir(exist_ok=True)
    evaluation.save_listeners(run, "test", result["listener_songs"].pop("per_user"), [f"U{i}" for i in own])
    kept = Scores(tuple(IDS), tuple(ARTISTS), TAGS, labels, scores, "artist", probabilities)
    return write(run, "joint", result, kept.keep(truth.tagged))


def cell(page, name):
    """The differences that a page shows under a name: (value, low, high) each."""
    found = re.findall(rf"<td>{re.escape(name)}</td><td[^>]*>(?:<span[^>]*>)?([^<]*)", page)
    return [tuple(map(float, re.findall(r"[-+]?\d+\.\d+", text))) for text in found]


def test_retrieval_runs_are_compared_on_the_same_draws_of_artists(tmp_path):
    runs = [retrieval_run(tmp_path / "first", 3.0), retrieval_run(tmp_path / "second", 0.5)]
    page = report_page.build(runs)
    check_page(page)
    worse, better = (Scores.load(run, "test") for run in runs)
    seen = slice(0, 3)
    expected = bootstrap.area_differences(
        worse.truth[:, seen], better.scores[:, seen], worse.scores[:, seen], worse.groups, TAGS[seen], n=1000
    )["macro"]
    for name, key in (("MAP", "pr_auc"), ("ROC-AUC", "roc_auc")):
        value, low, high = expected[key].values()
        assert cell(page, name) == [pytest.approx((value, low, high), abs=6e-5)] and low > 0
    figures = [run.metrics()["test"] for run in runs]
    ((value, _, _),) = cell(page, "P@10")
    assert value == pytest.approx(figures[1]["macro"]["P@10"] - figures[0]["macro"]["P@10"], abs=6e-5)
    ((value, _, _),) = cell(page, "zero-shot MAP")
    assert value == pytest.approx(figures[1]["zero_shot"]["MAP"] - figures[0]["zero_shot"]["MAP"], abs=6e-5)
    assert "Calibration" not in page and "does not say of which records" not in page


def test_a_joint_run_shows_three_questions_its_baselines_and_its_probabilities(tmp_path):
    run = joint_run(tmp_path / "one", 1.0)
    page = report_page.build([run])
    check_page(page)
    result = run.metrics()["test"]
    for question, metric in (("tag_songs", "MAP"), ("song_tags", "MAP"), ("listener_songs", "MAP@20")):
        low, high = result[question]["intervals"][metric]
        assert f"{result[question][metric]:.4f} [{low:.4f}, {high:.4f}]" in page
    assert page.index("Songs for a tag") < page.index("Tags of a song") < page.index("Songs for a listener")
    assert page.count("popularity, oracle") == 3 and "&lt;jazz&gt;" in page and "<jazz>" not in page
    low, high = result["song_tags"]["calibration"]["intervals"]["ece"]
    assert f"{result['song_tags']['calibration']['ece']:.4f} [{low:.4f}, {high:.4f}]" in page


def test_joint_runs_are_compared_by_their_listeners_ids(tmp_path):
    first, second = joint_run(tmp_path / "first", 2.0), joint_run(tmp_path / "second", 0.5, listeners=range(39, 4, -1))
    page = report_page.build([first, second])
    check_page(page)
    values = []
    for run in (first, second):
        with np.load(run.folder / "per_user_test.npz") as stored:
            values.append(dict(zip(stored["ids"], stored["MAP@20"].astype(np.float64), strict=True)))
    change = [values[1][f"U{i}"] - values[0][f"U{i}"] for i in range(5, LISTENERS)]
    ((value, low, high),) = cell(page, "MAP@20")
    assert value == pytest.approx(np.nanmean(change), abs=6e-5) and 0 < low < value < high
    figures = [run.metrics()["test"]["song_tags"]["MAP"] for run in (first, second)]
    ((value, low, high),) = cell(page, "tags of a song: MAP")
    assert value == pytest.approx(figures[1] - figures[0], abs=6e-5) and low < value < high


def test_retrieval_and_joint_runs_of_one_split_are_compared_and_no_others(tmp_path):
    first, second = retrieval_run(tmp_path / "first", 3.0, zero_shot=()), joint_run(tmp_path / "second", 0.5)
    page = report_page.build([first, second])
    check_page(page)
    figures = [first.metrics()["test"]["macro"]["MAP"], second.metrics()["test"]["tag_songs"]["MAP"]]
    ((value, low, high),) = cell(page, "MAP")
    assert value == pytest.approx(figures[1] - figures[0], abs=6e-5) and 0 < low < value < high
    assert (
        f"{first.metrics()['test']['macro']['MAP']:.4f} [" in page
    )  # beside the joint run's, as a first question's answer
    with pytest.raises(DataError, match="first and other are of different split"):
        report_page.build([first, retrieval_run(tmp_path / "other", 1.0, split="t")])
    with pytest.raises(ConfigError, match="a report compares runs of one task"):
        report_page.build([first, made_up_run(tmp_path / "tagger")])


def test_a_tagger_evaluated_by_an_older_orpheus_has_its_calibration_by_its_scores(tmp_path):
    run = made_up_run(tmp_path / "tagger")
    assert "calibration" not in run.metrics()["test"]["mean_of_windows"]
    (one,) = reported_runs.read([run], "test")
    found, kept = calibration_section.of(one), Scores.load(run, "test")
    assert found["ece"] == calibration.expected_calibration_error(kept.truth, kept.scores)
    page = report_page.build([run])
    check_page(page)
    assert "<h2>Calibration" in page and f"{found['ece']:.4f} [" in page


def test_what_was_not_kept_is_said_where_there_was_something_and_damaged_users_are_refused(tmp_path):
    first, second = retrieval_run(tmp_path / "first", 3.0), retrieval_run(tmp_path / "second", 0.5)
    (second.folder / "scores_test.npz").unlink()
    assert "not compared song by song: second evaluated by an older orpheus" in report_page.build([first, second])
    run = joint_run(tmp_path / "joint", 1.0)
    listeners_alone = joint_run(tmp_path / "alone", 0.5)
    result = listeners_alone.metrics()["test"]
    listeners_alone.write("metrics", {"test": {k: v for k, v in result.items() if k not in ("tag_songs", "song_tags")}})
    (listeners_alone.folder / "scores_test.npz").unlink()
    page = report_page.build([run, listeners_alone])
    assert "not compared" not in page and cell(page, "MAP@20")[0][1] > 0 and not cell(page, "MAP")
    for values in ({"MAP@20": np.zeros(3)}, {"MAP@20": np.array(["x"] * 40)}):
        np.savez(run.folder / "per_user_test.npz", ids=np.array([f"U{i}" for i in range(40)]), **values)
        with pytest.raises(DataError, match="expected a number per user for each metric"):
            report_page.build([run])
