"""benchmarks: turns, ratios and the table by hand; tiny runs of the two that need no network."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import common, pipeline, preprocessing, run
from orpheus.data.records import format


def test_candidates_take_turns_and_the_first_round_does_not_count():
    calls = []
    seconds = {"ours": iter([9.0, 1.0, 2.0, 4.0]), "other": iter([9.0, 2.0, 8.0])}

    def step(name):
        calls.append(name)
        return next(seconds[name])

    rates = common.interleaved(
        {
            "ours": common.Candidate(lambda: step("ours"), 8, 3, timed=True),
            "other": common.Candidate(lambda: step("other"), 8, 2, timed=True),
        }
    )
    assert calls == ["ours", "other"] * 3 + ["ours"]
    assert rates == {"ours": [8, 4, 2], "other": [4, 1]}
    ours, other = common.compared("b", "c", rates, unit="x/s", targets={"other": 3.5}, notes={"ours": "n"})
    assert ours == common.Row("b", "c", "ours", (8, 4, 2), "x/s", note="n")
    assert other.ratios == (2, 4)
    lines = common.table([ours, other]).splitlines()
    assert lines[2] == "| b | c | ours | 4 (2 to 8) x/s |  |  | n |"
    assert lines[3] == "| b | c | other | 2.5 (1 to 4) x/s | 3 (2 to 4) | ≥ 3.5 MISSED |  |"


def test_a_call_is_timed_unless_it_times_itself():
    rates = common.interleaved({"ours": common.Candidate(lambda: sum(range(1000)), 5, 1)})
    assert 0 < rates["ours"][0] < 5e9


@pytest.mark.slow
@pytest.mark.parametrize("kind", pipeline.FORMATS)
def test_pipeline_candidates_read_the_same_tracks(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "BATCH", 4)
    newer, older = tmp_path / "newer", tmp_path / "older"
    sizes = pipeline.write(kind, newer, older, tracks=6, shards=2)
    assert sizes[0] <= 0.51 * sizes[1]  # half the values' bytes; tags and ids are the same
    first = next(format.read_shard(sorted(newer.glob("*.tfrecord"))[0]))
    assert next(iter(pipeline.raw(newer))).numpy()[0] == first
    audio, tags = next(iter(pipeline.normalised(pipeline.ours(kind, newer, times=2, shuffle_buffer=8))))
    other, other_tags = next(iter(pipeline.reference(kind, older, shuffle_buffer=8)))
    assert {values.shape[1:].num_elements() for values in (audio, other)} == {
        240_000 if kind == "waveform" else 469 * 96
    }
    for values, rows in ((audio.numpy(), tags.numpy()), (other.numpy(), other_tags.numpy())):
        flat = values.reshape(4, -1)
        np.testing.assert_allclose(flat.mean(axis=1), 0, atol=1e-3)  # float32 sums over up to 240,000 values
        np.testing.assert_allclose(flat.std(axis=1), 1, atol=1e-3)
        assert rows.shape == (4, pipeline.CLASSES)
        assert set(np.unique(rows)) == {0, 1}


@pytest.mark.slow
def test_pipeline_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "BATCH", 4)
    options = "--formats log-mel-spectrogram --tracks 12 --shards 2 --batches 2 --repeats 1 --shuffle-buffer 4 --growth"
    rows = pipeline.measure(pipeline.parser().parse_args([*options.split(), "--folder", str(tmp_path)]))
    names = [pipeline.OURS, pipeline.NORMALISED, pipeline.REFERENCE, pipeline.RAW]
    assert [row.candidate for row in rows] == names
    assert all(len(row.values) == 1 and row.values[0] > 0 for row in rows)
    assert [row.target for row in rows] == [None, None, 2.5, 0.4]
    assert not list(tmp_path.iterdir())  # what it wrote is gone


def test_growth_repeats_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "BATCH", 4)
    pipeline.write("log-mel-spectrogram", tmp_path / "newer", tmp_path / "older", tracks=6, shards=2)
    megabytes = pipeline.memory("log-mel-spectrogram", tmp_path / "newer", 4, 4, 100)
    assert len(megabytes) == 4
    assert all(50 < value < 100_000 for value in megabytes)


@pytest.mark.parametrize("kind", preprocessing.FORMATS)
def test_both_ways_of_preprocessing_give_the_same_audio(kind, tmp_path):
    from orpheus.data.audio.spec import AudioSpec

    path = preprocessing.synthesise(tmp_path, files=1, seconds=1.0)[0]
    ours, theirs, both, decoded = (function(path) for function in preprocessing.ways(kind).values())
    spec = AudioSpec(kind)
    a, b = (np.frombuffer(format.decode(r)["audio"][0], spec.dtype).astype(float) for r in (ours, both))
    frames = min(len(a), len(b)) // spec.width * spec.width
    assert len(a) > 0.9 * spec.frames(1.0) * spec.width
    # Blocks of soxr's stream against soxr at once, and rounding to int16 or float16.
    np.testing.assert_allclose(a[:frames], b[:frames], atol=8 if kind == "waveform" else 0.2)
    assert len(format.decode(theirs)["audio"]) == len(b)
    assert len(decoded[0]) >= 44100


def test_run_names_what_there_is(tmp_path, capsys, monkeypatch):
    with pytest.raises(SystemExit) as stop:
        run.main(["no-such-benchmark"])
    assert stop.value.code == 2
    assert "preprocessing" in capsys.readouterr().err
    values = [common.Row("npmi", "case", "orpheus", (2.0,), "times/s")]
    monkeypatch.setattr(common, "in_process", lambda function, name, options: values)
    assert run.main(["npmi", "--json", str(tmp_path / "out.json")]) == 0
    assert "orpheus is … times as fast" in capsys.readouterr().out
    written = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert [row["candidate"] for row in written["rows"]] == ["orpheus"]
    assert written["machines"]["npmi"]["versions"]["tensorflow"]


def test_a_process_of_its_own_may_have_processes_too():
    import os

    assert common.in_process(common.in_process, os.getpid) not in (os.getpid(), common.in_process(os.getpid))


def test_all_benchmarks_together_take_less_than_20_minutes():
    assert sum(benchmark.seconds for benchmark in run.BENCHMARKS.values()) < 20 * 60


@pytest.mark.parametrize("name", run.BENCHMARKS)
def test_options_of_every_benchmark_are_its_own(name):
    from importlib import import_module

    module = import_module(f"benchmarks.{name}")
    assert callable(module.measure)
    for options in (run.BENCHMARKS[name].options, run.BENCHMARKS[name].quick):
        module.parser().parse_args(options.split())


@pytest.mark.slow
def test_every_benchmark_runs(capsys, tmp_path):
    assert run.main(["--quick", "--json", str(tmp_path / "out.json")]) == 0
    rows = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["rows"]
    ours = {row["benchmark"] for row in rows if row["candidate"].startswith("orpheus")}
    assert len(ours) >= len(run.BENCHMARKS) - 1
    for row in rows:
        assert all(value > 0 for value in row["values"]), row


def test_npmi_by_hand_and_in_all_ways():
    """Four tracks: a and b meet on two, P(a) = 3/4, P(b) = P(ab) = 1/2; c never meets b."""
    from benchmarks import npmi

    distances = np.array(npmi.textbook([["a", "b"], ["a", "b"], ["a", "c"], ["c"]], ["a", "b", "c"]))
    expected = 1 - np.log((1 / 2) / (3 / 4 * 1 / 2)) / -np.log(1 / 2)
    np.testing.assert_allclose(distances[0, 1], expected, atol=1e-12)
    assert distances[1, 2] == 2 and np.all(np.diag(distances) == 0) and np.array_equal(distances, distances.T)
    rows = npmi.measure(npmi.parser().parse_args(["--tracks", "300", "--tags", "30", "--repeats", "1"]))
    assert rows[0].candidate == "orpheus" and len(rows) == 4  # measure compares their results


def test_metrics_agree_with_scikit_learn(monkeypatch):
    from benchmarks import metrics

    monkeypatch.setattr(common, "in_process", lambda function, *arguments: (100.0, 150.0))
    rows = metrics.measure(metrics.parser().parse_args(["--tracks", "300", "--classes", "6", "--repeats", "1"]))
    assert [row.candidate for row in rows] == ["orpheus", "scikit-learn"]
    assert rows[0].note.startswith("peak 50 MB beyond")


def test_seconds_of_commands_are_compared_the_right_way_round(monkeypatch):
    from benchmarks import startup

    monkeypatch.setattr(startup, "tiny", lambda folder: [])
    monkeypatch.setattr(
        startup, "tagged", lambda folder: (SimpleNamespace(run=SimpleNamespace(folder="run")), "song.mp3")
    )
    monkeypatch.setattr(startup, "called", lambda command: None)
    rates = {"orpheus": [2.0], "other": [0.5]}  # half a second, and two
    monkeypatch.setattr(common, "interleaved", lambda candidates: rates)
    rows = startup.measure(startup.parser().parse_args([]))
    assert [row.values for row in rows[:2]] == [(0.5,), (2.0,)] and rows[1].ratios == (4.0,)
