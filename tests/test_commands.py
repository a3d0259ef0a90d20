"""orpheus.train, evaluate and predict end to end on a small demo dataset, and what bad input gets."""

import csv
import json
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest
import soundfile

import orpheus
from orpheus import evaluate, predict, report, train
from orpheus.runs.folder import Run
from tests.conftest import ROOT

MEL = "log-mel-spectrogram"


@pytest.fixture(scope="module")
def trained(demo, tmp_path_factory):
    """A run of two epochs with everything saved; (run folder, folder of the saved arrays)."""
    folder = tmp_path_factory.mktemp("trained")
    config = folder / "config.json"
    config.write_text(
        json.dumps(
            {
                "model": {"frontend": "fcn", "n_filters": 4, "n_dense_units": 8},
                "model-training": {
                    "batch_size": 4,
                    "window_length": 1.5,
                    "split": [60, 20, 20],
                    "log_dir": str(folder / "runs"),
                    "tensorboard": "scalars",
                },
                "tags": {"top": 12},
            }
        )
    )
    saved = folder / "saved"
    code = train.main(
        [
            MEL,
            "--config",
            str(folder),
            "--tfrecords-dir",
            str(demo / "mel"),
            "--lastfm",
            str(demo / "data/tags.db"),
            "--epochs",
            "2",
            "--update-freq",
            "1",
            "--multi-tag",
            "--filter",
            "--save-PR",
            str(saved),
            "--save-ROC",
            str(saved),
            "--save-confusion-matrix",
            str(saved),
            "--save-tags-path",
            str(saved),
        ]
    )
    assert code == 0
    (run,) = (folder / "runs").iterdir()
    return run, saved


def test_run_folder_holds_what_it_promises(trained):
    run, _ = trained
    assert run.name.startswith("fcn_")
    for name in (
        "config.json",
        "classes.json",
        "spec.json",
        "run.json",
        "command.txt",
        "versions.json",
        "history.json",
        "model.keras",
    ):
        assert (run / name).is_file(), name
    assert list((run / "train").iterdir()) and list((run / "validation").iterdir())
    classes = json.loads((run / "classes.json").read_text())["classes"]
    filtered = (ROOT / "dictionaries/tags_remove.txt").read_text(encoding="utf-8").split("\n")
    assert len(classes) == len(set(classes)) and not set(classes) & set(filtered)
    assert len(json.loads((run / "history.json").read_text())) == 2


def test_saved_arrays_say_frontend_and_time(trained):
    run, saved = trained
    classes = np.load(saved / f"tags_{run.name}.npy")
    assert np.load(saved / f"PR_{run.name}.npy").shape == (2, len(classes))
    assert np.load(saved / f"ROC_{run.name}.npy").shape == (2, len(classes))
    confusion = np.load(saved / f"confusion-matrix_{run.name}.npy")
    assert confusion.shape == (4, 200, len(classes))
    assert len(set(map(int, confusion.sum(axis=0).ravel()))) == 1


def test_evaluate_gives_scikit_learns_values(trained, demo, tmp_path, capsys):
    run, _ = trained
    tables = ["--csv", str(tmp_path / "m.csv"), "--suspects", str(tmp_path / "s.csv"), "--suspects-count", "30"]
    assert evaluate.main([str(run), "--split", "train", *tables, "--tracks", str(demo / "data/tracks.csv")]) == 0
    suspects = list(csv.DictReader((tmp_path / "s.csv").open(encoding="utf-8")))
    assert 0 < len(suspects) <= 30 and all((ROOT / row["path"]).is_file() for row in suspects)
    assert next(csv.DictReader((tmp_path / "m.csv").open(encoding="utf-8")))["class"] == "macro"
    page = [str(run), "--split", "train", "-o", str(tmp_path / "r.html"), "--count", "1", "--seconds", "2"]
    assert report.main([*page, "--tracks", str(demo / "data/tracks.csv")]) == 0
    shown = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert shown.count('<svg class="gram"') == 1 and '<audio controls preload="metadata" src="data:audio/' in shown
    assert "learning rate" in shown  # from TensorBoard's events
    printed = capsys.readouterr().out
    assert "macro" in printed and "micro" in printed
    result = json.loads((run / "metrics.json").read_text())["train"]
    assert result["hashes"] == json.loads((run / "run.json").read_text())["hashes"]
    assert result["mean_of_windows"]["intervals"]["replicates"] == 1000 and "95 % interval" in printed
    assert (run / "scores_train.npz").is_file()
    # The same numbers from files instead of records, through predict, and scikit-learn.
    from sklearn.metrics import average_precision_score, roc_auc_score

    from orpheus.tasks.tagging import data

    records = data.reopen_data(Run.open(run)).records_of("train")
    with open(demo / "data/tracks.csv", encoding="utf-8") as file:
        paths = {row["track_id"]: demo / "data" / row["audio_path"] for row in csv.DictReader(file)}
    tagger = orpheus.load(run)
    scores = np.stack([tagger.predict(paths[row.track_id]).mean for row in records.rows()])
    truth = records.truth()
    for column, name in enumerate(records.targets.classes):
        stored = result["mean_of_windows"]["per_class"][name]
        assert stored["positives"] == truth[:, column].sum()
        if 0 < truth[:, column].sum() < len(truth):
            assert stored["roc_auc"] == pytest.approx(roc_auc_score(truth[:, column], scores[:, column]), abs=1e-6)
            expected = average_precision_score(truth[:, column], scores[:, column])
            assert stored["pr_auc"] == pytest.approx(expected, abs=1e-6)


def test_predict_writes_everything_and_reports_broken_files(trained, demo, tmp_path, capsys, caplog):
    run, _ = trained
    music = tmp_path / "music"
    shutil.copytree(demo / "data/audio", music / "deep", ignore=lambda _, names: sorted(names)[2:])
    (music / "broken.mp3").write_bytes(b"")
    out = {name: tmp_path / f"out.{name}" for name in ("csv", "json", "png")}
    code = predict.main(
        [
            str(run),
            str(music),
            "-t",
            "0",
            "--top",
            "3",
            "--csv",
            str(out["csv"]),
            "--json",
            str(out["json"]),
            "--taggram",
            str(out["png"]),
            "--timeline",
            str(tmp_path / "page.html"),
            "--hop-seconds",
            "0.5",
        ]
    )
    captured = capsys.readouterr()
    assert code == 1
    assert "broken.mp3: empty file (0 bytes)" in caplog.text
    rows = list(csv.reader(out["csv"].open(encoding="utf-8")))
    assert len(rows) == 3 and len(rows[0]) == 1 + len(orpheus.load(run).classes)
    content = json.loads(out["json"].read_text())
    assert "error" in content[str(music / "broken.mp3")]
    assert len(list(tmp_path.glob("out_*.png"))) == len(list(tmp_path.glob("page_*.html"))) == 2
    assert captured.out.count("  0.") <= 6


def test_long_files_are_tagged_in_windows_to_their_end(trained, tmp_path):
    run, _ = trained
    tagger = orpheus.load(run)
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "long.wav", rng.normal(0, 0.1, 8000 * 47).astype(np.float32), 8000)
    prediction = tagger.predict(tmp_path / "long.wav", hop_seconds=1.0)
    steps = np.diff(prediction.starts)
    assert np.allclose(steps[:-1], steps[0]) and 0 < steps[-1] <= steps[0]
    assert prediction.starts[-1] + prediction.window_seconds == pytest.approx(47.0, abs=0.1)
    assert prediction.scores.shape == (len(prediction.starts), len(tagger.classes))
    batched = tagger.predict(tmp_path / "long.wav", hop_seconds=1.0, batch_size=3)
    np.testing.assert_allclose(batched.scores, prediction.scores, atol=1e-5)


@pytest.mark.slow
def test_an_hour_of_audio_stays_under_a_gigabyte(trained, tmp_path):
    run, _ = trained
    with soundfile.SoundFile(tmp_path / "hour.wav", "w", 8000, 1) as file:
        minute = np.random.default_rng(0).normal(0, 0.1, 8000 * 60).astype(np.float32)
        for _ in range(60):
            file.write(minute)
    code = (
        "import orpheus, re, sys\n"
        "from orpheus.tasks.tagging import taggram, timeline\n"
        "prediction = orpheus.load(sys.argv[1]).predict(sys.argv[2])\n"
        "taggram.taggram(prediction, sys.argv[3] + '.png', title='hour.wav', top=10)\n"
        "timeline.write(sys.argv[3] + '.html', prediction, sys.argv[2], top=12)\n"
        # Not ru_maxrss: a child starts with that of the process it was forked from.
        "peak = re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())\n"
        "print(len(prediction.starts), int(peak[1]) // 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(run), str(tmp_path / "hour.wav"), str(tmp_path / "hour")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    windows, megabytes = map(int, done.stdout.split())
    frames, window = 1 + 3600 * 8000 // 512, round(1.5 * 8000 / 512)
    assert windows == -(-frames // window)
    assert megabytes < 1024
    assert (tmp_path / "hour.png").stat().st_size < 200_000
    assert (tmp_path / "hour.html").stat().st_size < 100_000


def test_resume_goes_on_and_keeps_the_classes(trained, tmp_path):
    run, _ = trained
    copy = tmp_path / run.name
    shutil.copytree(run, copy)
    assert train.main(["--resume", str(copy), "--epochs", "3"]) == 0
    assert [row["epoch"] for row in Run.open(copy).read("history")] == [1, 2, 3]


@pytest.mark.slow
def test_waveform_and_built_in_and_dry_run(demo, tiny, tmp_path, capsys):
    arguments = ["waveform", "--config", str(tiny), "--tfrecords-dir", str(demo / "wave")]
    arguments += ["--set", "model-training.window_length=2.6"]
    assert train.main([*arguments, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "parameters" in printed and "train" in printed
    assert not (tmp_path / "runs").exists()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*ran out of data")
        assert train.main([*arguments, "--built-in", "--epochs", "1", "--steps-per-epoch", "2", "--no-shuffle"]) == 0
    assert evaluate.main([capsys.readouterr().out.splitlines()[-1]]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["waveform", "--tfrecords-dir", "{demo}/mel"], "holds log-mel-spectrogram records, waveform was asked for"),
        ([MEL, "--tfrecords-dir", "{demo}/none"], "no such folder of records"),
        ([MEL, "--tfrecords-dir", "{demo}/data"], "holds no *.tfrecord"),
        ([MEL, "--tfrecords-dir", "{demo}/mel", "--cuda", "7"], "--cuda 7: this machine shows TensorFlow no GPU"),
        (
            [MEL, "--tfrecords-dir", "{demo}/mel", "--set", "tfrecords.n_mels=128"],
            "made with n_mels=32, config asks 128",
        ),
        ([MEL, "--tfrecords-dir", "{demo}/mel", "--set", 'tags.with=["polka"]'], "no track has the tag 'polka'"),
        ([MEL, "--tfrecords-dir", "{demo}/mel", "--set", "model-training.batch_size=500"], "fewer than one batch"),
        ([MEL, "--tfrecords-dir", "{demo}/mel", "--set", "model-training.split=[50,50,50]"], "split"),
        ([MEL, "--tfrecords-dir", "{demo}/mel", "--lastfm", "{demo}/data/none.db"], "none.db"),
        ([MEL, "--tfrecords-dir", "{demo}/mel", "--multi-db", "2"], "--multi-db 2"),
        (
            [MEL, "--tfrecords-dir", "{demo}/mel", "--filter", "--filter-path", "{demo}"],
            "tags_remove.txt: no such filter",
        ),
        ([MEL, "--tfrecords-dir", "{demo}/mel", "--epochs", "0"], "--epochs 0: must be at least 1"),
        ([MEL, "--tfrecords-dir", "{demo}/mel", "--set", "model-training.window_length=0.01"], "model needs at least"),
        ([MEL, "--tfrecords-dir", "{demo}/mel", "--set", "model-training.optimizer.name=Adamm"], "there are Adadelta"),
        ([MEL], "--tfrecords-dir is missing"),
    ],
)
def test_bad_input_is_one_line_and_code_2(arguments, message, demo, tiny, tmp_path, capsys):
    filled = [argument.format(demo=demo) for argument in arguments]
    assert train.main([*filled, "--config", str(tiny)]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    # A "left out" line of the log may come before; the error itself is one line and the last one.
    assert message in error[-1] and error[-1].startswith("python -m orpheus.train: error:")
    assert not (tmp_path / "runs").exists(), "a run folder was made for nothing"


def test_bad_runs_are_named(trained, demo, tmp_path, capsys):
    run, _ = trained
    for arguments, message in (
        (["no-such-run", str(demo)], "no such run folder"),
        ([str(demo), str(demo)], "not a run"),
        ([str(run), str(tmp_path / "nothing.mp3")], "no such file or folder"),
        ([str(run), str(demo), "-t", "2"], "must be between 0 and 1"),
    ):
        assert predict.main(arguments) == 2
        assert message in capsys.readouterr().err
    assert evaluate.main([str(run), "--tfrecords-dir", str(demo / "wave")]) == 2
    assert "holds waveform records" in capsys.readouterr().err
