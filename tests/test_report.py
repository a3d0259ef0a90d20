"""Reports: what is in the page for known runs, that it needs nothing else, and what is refused."""

import base64
import html
import html.parser
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import soundfile
from scipy import stats

from orpheus import report as command
from orpheus.data.collection.datasets import published
from orpheus.errors import ConfigError, DataError
from orpheus.learning.evaluation import bootstrap
from orpheus.learning.evaluation.areas import average_precision, summarise
from orpheus.runs.folder import Run
from orpheus.tasks.report import benchmarks, reported_runs, tagging, tracks
from orpheus.tasks.report import page as report_page
from orpheus.tasks.scores import Scores
from tests.conftest import ROOT

CLASSES = ("rock", "Jazz & <Blues>", "never", "sad")


def made_up_run(folder, *, seed=0, skill=1.5, split="s", classes=CLASSES, **about):
    """A run folder as training and evaluation leave it, without a model."""
    rng = np.random.default_rng(0)
    truth = rng.random((80, len(classes))) < 0.3
    truth[:, classes.index("never")] = False
    scores = truth * skill + np.random.default_rng(seed).normal(0, 1, truth.shape)
    scores = (1 / (1 + np.exp(-scores))).astype(np.float32)
    ids, groups = tuple(f"T{i:03d}" for i in range(80)), tuple(f"A{i // 5}" for i in range(80))
    run = Run(folder)
    Scores(ids, groups, tuple(classes), truth, scores, "artist").save(run, "test")
    areas = summarise(truth, scores, classes)
    areas["intervals"] = bootstrap.area_intervals(truth, scores, groups, classes, n=50)
    hashes = {"split": split * 64, "records": "r" * 64}
    evaluated = {
        "hashes": hashes,
        "tracks": 80,
        "windows": 80,
        "unit": "artist",
        "mean_of_windows": areas,
        "single_windows": areas,
    }
    run.write("metrics", {"test": evaluated})
    run.write("run", {"task": "tagging", "frontend": "log-mel-spectrogram", "hashes": hashes, "seed": seed, **about})
    run.write("config", {"model": {"n_filters": 4 + seed}, "tags": {"top": 4}})
    run.write("classes", {"kind": "tags", "classes": list(classes), "columns": {n: i for i, n in enumerate(classes)}})
    run.write(
        "history",
        [
            {"epoch": i + 1, "loss": 1 / (i + 1), "val_loss": 1.1 / (i + 1), "PR-AUC": 0.1 * i, "val_PR-AUC": 0.09 * i}
            for i in range(5)
        ],
    )
    (folder / "command.txt").write_text("python -m orpheus.train …\n")
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return made_up_run(folder / "first"), made_up_run(folder / "second", seed=1, skill=4.0)


class Balanced(html.parser.HTMLParser):
    """Raises where tags are not closed in order, and keeps every address."""

    def __init__(self):
        super().__init__()
        self.open, self.addresses = [], []

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def check_page(page):
    parsed = Balanced()
    parsed.feed(page)
    assert not parsed.open
    assert all(address.startswith(("data:", "#")) for address in parsed.addresses), "the page needs something else"
    assert "@import" not in page and "url(" not in page


def test_a_run(runs):
    page = report_page.build(runs[:1])
    check_page(page)
    for title in (
        "Means over the test split",
        "Training",
        "Classes",
        "Distributions",
        "Confusion",
        "Tracks",
        "Configuration",
    ):
        assert f"<h2>{title}" in page
    assert "Jazz &amp; &lt;Blues&gt;" in page and "<Blues>" not in page
    areas = runs[0].read("metrics")["test"]["mean_of_windows"]
    for key in ("roc_auc", "pr_auc"):
        low, high = areas["intervals"]["macro"][key]
        assert f"{areas['macro'][key]:.4f} [{low:.4f}, {high:.4f}]" in page
    assert "Left out of the macro means (one kind of label only): never" in page
    assert "evaluate --split valid, too" in page  # thresholds were chosen on the evaluated tracks, and the page says so


def test_two_runs_are_compared_on_the_same_draws(runs):
    page = report_page.build(runs)
    check_page(page)
    assert "model.n_filters" in page and "Differences between runs" in page and "PR-AUC of each class" in page
    first, second = (Scores.load(run, "test") for run in runs)
    expected = bootstrap.area_differences(first.truth, second.scores, first.scores, first.groups, CLASSES, n=1000)
    for average in ("macro", "micro"):
        entry = expected[average]["pr_auc"]
        assert entry["low"] > 0, "the second run is made much better"
        assert f'<span class="better">{entry["value"]:+.4f} [{entry["low"]:+.4f}, {entry["high"]:+.4f}]</span>' in page
    rock = expected["per_class"]["rock"]["pr_auc"]
    assert f"{rock['value']:+.3f} [{rock['low']:+.3f}, {rock['high']:+.3f}]" in page


def test_other_classes_and_more_runs_are_said_and_shown(runs, tmp_path):
    third = made_up_run(tmp_path / "third", seed=2, classes=("sad", "never", "rock"))
    page = report_page.build([*runs, third])
    check_page(page)
    assert "first: 0 tracks and 1 classes are not in all runs and not compared" in page
    assert "third − first" in page


def test_different_splits_and_tasks_are_refused(runs, tmp_path):
    other = made_up_run(tmp_path / "other", split="t")
    with pytest.raises(DataError, match=r"first and other are of different split: ssssssss and tttttttt"):
        report_page.build([runs[0], other])
    page = report_page.build([runs[0], other], different_splits=True)
    assert "are of different split" in page
    made_up_run(tmp_path / "rec", task="recommendation")
    with pytest.raises(ConfigError, match="a report compares runs of one task"):
        report_page.build([runs[0], Run(tmp_path / "rec")])


def test_a_run_that_was_not_judged_shows_its_curves(tmp_path, caplog):
    run = made_up_run(tmp_path / "new")
    (run.folder / "metrics.json").unlink()
    (run.folder / "scores_test.npz").unlink()
    page = report_page.build([run])
    check_page(page)
    assert "not evaluated yet" in page and "<h2>Training" in page and "<h2>Classes" not in page
    assert "python -m orpheus.evaluate" in caplog.text


def test_any_task_gets_tables_of_its_figures_with_intervals(tmp_path):
    run = Run(tmp_path / "model_1")
    run.write("run", {"task": "recommendation", "experiment": "rec"})
    run.write("config", {"data": {"dataset": "X"}})
    lists = {
        "items": 7,
        "users": 50,
        "mean": {"MAP@5": 0.25, "P@1": 0.5},
        "coverage": {"C@5": 0.75},
        "intervals": {"MAP@5": [0.2, 0.3], "P@1": [0.4, 0.6], "R2": [-0.2, 0.1]},
        "R2": -0.1,
        "baselines": {
            "random": {"mean": {"MAP@5": 0.01}, "intervals": {"MAP@5": [0.0, 0.02]}},
            "popularity": {"mean": {"MAP@5": 0.02}},
        },
    }
    run.write("metrics", {"test": lists})
    page = report_page.build([run])
    check_page(page)
    assert "0.2500 [0.2000, 0.3000]" in page and "-0.1000 [-0.2000, 0.1000]" in page
    assert "0.010 [0.000, 0.020]" in page and "popularity" in page and "0.7500" in page
    assert "<td>model_1</td>" in page and "0.250 [0.200, 0.300]" in page  # the run itself, above its baselines
    assert "<td class=n>50</td>" in page  # a number of users is no measurement
    retrieval = {
        "songs": 9,
        "macro": {"MAP": 0.4, "P@10": 0.3},
        "zero_shot": None,
        "per_class": {"rock": {"positives": 3, "MAP": 0.6}, "jazz": {"positives": 2, "MAP": 0.7}},
        "intervals": {
            "macro": {"MAP": [0.35, 0.45], "P@10": None},
            "zero_shot": None,
            "per_class": {"rock": {"MAP": [0.5, 0.7]}},
        },
    }
    run.write("metrics", {"test": retrieval})
    page = report_page.build([run])
    assert "0.4000 [0.3500, 0.4500]" in page and "0.600 [0.500, 0.700]" in page
    assert page.index(">jazz<") < page.index(">rock<")  # sorted by MAP


def test_recommendation_is_compared_user_by_user(tmp_path):
    users = np.random.default_rng(0).random((2, 40))
    users[1] = users[0] + 0.1 + 0.01 * users[1]
    runs = []
    for number, values in enumerate(users):
        run = Run(tmp_path / f"model_{number}")
        run.write("run", {"task": "recommendation", "hashes": {"split": "s", "records": "r"}})
        run.write("config", {})
        run.write(
            "metrics",
            {"test": {"hashes": {"split": "s", "records": "r"}, "users": 40, "mean": {"MAP@5": values.mean()}}},
        )
        np.savez(
            run.folder / "per_user_test.npz", **{"MAP@5": np.append(values, np.nan)}
        )  # the last has nothing to find
        runs.append(run)
    page = report_page.build(runs)
    check_page(page)
    _, counts = bootstrap.draws(range(41), n=1000, seed=0)
    change, there = np.append(users[1] - users[0], 0), np.append(np.ones(40), 0)
    low, high = np.percentile((counts.T @ change) / (counts.T @ there), [2.5, 97.5])
    assert f'"better">{change.sum() / 40:+.4f} [{low:+.4f}, {high:+.4f}]<' in page


def test_reference_groups_are_shipped():
    groups = json.loads((ROOT / "dictionaries/lastfm100_groups.json").read_text(encoding="utf-8"))["groups"]
    sizes = {name: len(tags) for name, tags in groups.items()}
    assert sizes == {
        "genres": 43,
        "instruments": 2,
        "dates": 7,
        "voices": 5,
        "emotions": 16,
        "miscellaneous": 7,
        "nationalities": 4,
        "subjective": 16,
    }
    tags = [tag for members in groups.values() for tag in members]
    removed = (ROOT / "dictionaries/tags_remove.txt").read_text(encoding="utf-8").split()
    assert len(set(tags)) == 100 and {"seen", "live"} <= set(removed)
    assert set(groups["nationalities"]) | set(groups["subjective"]) == set(
        (ROOT / "dictionaries/tags_remove.txt").read_text(encoding="utf-8").strip().split("\n")
    )


def test_groups_are_found_by_the_classes_and_their_means_shown(runs, tmp_path):
    assert list(reported_runs.read_groups(None, ["Rock", "happy", "zither"])) == ["genres", "emotions"]
    assert reported_runs.read_groups(None, ["guitar", "loud", "quiet"])["loudness"] == ["loud", "quiet"]
    assert reported_runs.read_groups(None, ["x", "y", "rock"]) == {}
    (tmp_path / "g.json").write_text('{"groups": {"mine": ["ROCK", "sad"], "none": ["z"]}}')
    page = report_page.build(runs[:1], groups=tmp_path / "g.json")
    found = Scores.load(runs[0], "test")
    drawn = bootstrap.replicate_areas(found.truth, found.scores, found.groups, n=1000).pr
    low, high = np.percentile(drawn[:, [0, 3]].mean(axis=1), [2.5, 97.5])
    mean = np.mean(average_precision(found.truth, found.scores)[[0, 3]])
    assert f"{mean:.3f} [{low:.3f}, {high:.3f}]" in page
    with pytest.raises(DataError, match="none of the 1 classes is in a group"):
        reported_runs.read_groups(tmp_path / "g.json", ["jazz"])
    (tmp_path / "bad.json").write_text("[]")
    with pytest.raises(DataError, match="no groups of tags"):
        reported_runs.read_groups(tmp_path / "bad.json", ["jazz"])


def test_density_is_scipys_and_histograms_have_area_one():
    values = np.random.default_rng(0).beta(2, 5, 60)
    grid = np.linspace(0, 1, 50)
    np.testing.assert_allclose(tagging.density(values, grid), stats.gaussian_kde(values)(grid), rtol=1e-9)
    assert np.isfinite(tagging.density(np.full(5, 0.5), grid)).all()
    drawn = tagging.histogram([values, values[:7]], ["a", "b"], "PR-AUC")
    bars = re.findall(r'width="([\d.]+)" height="([\d.]+)" style="fill:var\(--c(\d)\)"', drawn)
    heights = [sum(float(height) for _, height, run in bars if run == wanted) for wanted in "01"]
    assert heights[0] == pytest.approx(heights[1], rel=0.01)  # 60 classes and 7: the same area of ink


def test_confusion_counts_and_thresholds(runs):
    found = Scores.load(runs[0], "test")
    (reported,) = reported_runs.read(runs[:1], "test")
    limits, by_validation = tagging.thresholds(reported)
    assert not by_validation
    said = found.scores[:, 0] >= limits[0]
    counts = [int(x.sum()) for x in (found.truth[:, 0] & said, ~found.truth[:, 0] & said, found.truth[:, 0] & ~said)]
    body = tagging.confusion(reported).body
    row = next(line for line in body.split("<tr>") if line.startswith("<td>rock</td>"))
    assert [int(n) for n in re.findall(r"<td class=n>(\d+)</td>", row)] == [*counts, 80 - sum(counts)]


def test_thresholds_come_from_validation_tracks_where_they_were_judged(tmp_path):
    run = made_up_run(tmp_path / "a")
    Scores.load(run, "test").save(run, "valid")
    assert "chosen on the validation tracks" in report_page.build([run])
    run.write("metrics", {"valid": run.read("metrics")["test"]})
    assert "chosen on these very tracks" in report_page.build([run], split="valid")


def test_clusters_are_shown_with_their_members(tmp_path):
    run = made_up_run(tmp_path / "a")
    columns = {"rock": 0, "rock and roll": 0, "bebop": 1, "never": 2, "blue": 3}
    run.write("classes", {"kind": "clusters", "classes": list(CLASSES), "columns": columns})
    page = report_page.build([run])
    check_page(page)
    assert "<h2>Clusters and co-occurrence" in page and "<td>rock, rock and roll</td>" in page


def test_tracks_go_from_best_to_worst_and_prefer_those_with_audio(tmp_path):
    truth = np.array([[1, 0], [1, 0], [1, 0], [1, 0]], bool)
    scores = np.array([[0.9, 0.1], [0.1, 0.9], [0.5, 0.5], [0.8, 0.1]], np.float32)
    found = Scores(("a", "b", "c", "d"), ("a", "b", "c", "d"), ("x", "y"), truth, scores, "track")
    assert tracks.choose(found, {}, 3) == [0, 2, 1] or tracks.choose(found, {}, 3) == [0, 3, 1]
    for name in "bc":
        (tmp_path / name).write_bytes(b"")
    assert tracks.choose(found, {name: str(tmp_path / name) for name in "bcd"}, 4) == [2, 1]
    shown = tracks.chips(found, 1, np.array([0.5, 0.5]))
    assert 'miss">x 0.10' in shown and 'false">y 0.90' in shown


def test_sound_in_the_page_is_the_start_of_the_file(tmp_path):
    rate = 16000
    noise = np.cumsum(np.random.default_rng(0).normal(0, 300, 3 * rate))
    noise = (noise - np.convolve(noise, np.ones(400) / 400, "same")).astype(
        np.int16
    )  # low frequencies, which mp3 keeps
    soundfile.write(tmp_path / "a.wav", noise, rate)
    samples, found = tracks.excerpt(str(tmp_path / "a.wav"), rate, 1.5)
    assert found == rate and np.array_equal(samples, noise[: len(samples)]) and len(samples) == 1.5 * rate
    head, encoded = tracks.encode(samples, rate).split(",")
    assert head in ("data:audio/mpeg;base64", "data:audio/ogg;base64")
    (tmp_path / "b.mp3").write_bytes(base64.b64decode(encoded))
    back = soundfile.read(tmp_path / "b.mp3")[0]
    together = np.correlate(back, samples[2000:12000].astype(float), "valid")  # mp3 begins with some silence
    place = int(np.argmax(together))
    assert np.corrcoef(back[place : place + 10000], samples[2000:12000])[0, 1] > 0.9


def test_command(runs, tmp_path, capsys):
    out = tmp_path / "page.html"
    assert command.main([str(runs[0].folder), str(runs[1].folder), "-o", str(out), "--title", "Two"]) == 0
    assert capsys.readouterr().out.strip() == str(out) and "<h1>Two</h1>" in out.read_text(encoding="utf-8")
    assert command.main([str(runs[0].folder)] * 7) == 2
    assert "six at most" in capsys.readouterr().err
    assert command.main([str(tmp_path / "none")]) == 2


@pytest.mark.slow
def test_a_browser_sorts_the_table_and_loads_nothing(runs, tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium")
    asked = (
        "<script>const heads = [...document.querySelectorAll('table.sorts th')].filter(h => h.textContent == 'class');"
        "const first = () => heads[0].closest('table').tBodies[0].rows[0].cells[0].textContent;"
        "const seen = [first()]; for (const _ of [1, 2]) { heads[0].click(); seen.push(first()); }"
        "seen.push(performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:')).length);"
        "const pre = document.createElement('pre'); pre.textContent = seen.join('|');"
        "document.body.replaceChildren(pre);</script>"
    )
    page = report_page.build(runs)
    (tmp_path / "page.html").write_text(page.replace("</body>", asked + "</body>"), encoding="utf-8")
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", f"file://{tmp_path}/page.html"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    best, ascending, descending, loaded = re.search(r"<pre>(.*)</pre>", done.stdout)[1].split("|")
    expected = runs[0].read("metrics")["test"]["mean_of_windows"]["per_class"]
    assert html.unescape(best) == max(expected, key=lambda name: expected[name]["pr_auc"] or -1)
    names = sorted(expected, key=str.casefold)
    assert {html.unescape(ascending), html.unescape(descending)} == {names[0], names[-1]}
    assert loaded == "0"


def test_published_figures_stand_beside_a_run_of_the_published_split_only(tmp_path, monkeypatch):
    figure = published.Figure("a paper's network", "A. Author 2020", {"roc_auc": 0.9129, "pr_auc": 0.4614}, True)
    entry = published.Published((10, 10, 80), len(CLASSES), figures=(figure,))
    monkeypatch.setitem(published.TABLE, ("mtt", "clean"), entry)
    about = {"sha256": "s" * 64, "tracks": {"train": 10, "valid": 10, "test": 80}, "tags": list(CLASSES)}
    about["made"] = {"dataset": "mtt", "split": "clean"}
    same = made_up_run(tmp_path / "same", benchmark=about)
    page = report_page.build([same], tracks=0)
    assert "Published figures" in page and "a paper&#x27;s network" in page and "0.4614" in page
    assert "is not compared" not in page
    other = made_up_run(tmp_path / "other", split="t", benchmark=about)
    page = report_page.build([other], tracks=0)
    assert "0.4614" not in page and "is not compared with published figures: the records are not those of" in page
    without = made_up_run(tmp_path / "without")
    assert "Published figures" not in report_page.build([without], tracks=0)


def test_accuracy_is_of_tracks_with_one_class():
    truth = np.eye(4, dtype=bool)
    scores = np.array([[9, 1, 0, 0], [0, 9, 0, 0], [9, 0, 1, 0], [0, 0, 0, 9]], np.float32)
    one = Scores(tuple("abcd"), tuple("abcd"), CLASSES, truth, scores, "track")
    assert benchmarks.accuracy(one) == 0.75
    truth = truth.copy()
    truth[0, 1] = True
    assert benchmarks.accuracy(Scores(tuple("abcd"), tuple("abcd"), CLASSES, truth, scores, "track")) is None
