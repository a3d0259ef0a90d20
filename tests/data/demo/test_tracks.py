"""orpheus.data.demo.tracks: the same bytes again, files that decode, tags that can be heard and tags that cannot."""

import csv
import json
import sqlite3
from collections import Counter, defaultdict

import numpy as np
import pytest
import soundfile

from orpheus.base import files
from orpheus.data.demo import plan, synth
from orpheus.data.demo import tracks as demo_tracks
from orpheus.data.tags.database import TagDatabase
from orpheus.errors import ConfigError, DataError

SMALL = {"tracks": 16, "seconds": 1.5}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "set"
    summary = demo_tracks.make(out, **SMALL)
    return out, summary


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def hashes(folder):
    return {p.relative_to(folder).as_posix(): files.content_hash(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def test_same_seed_same_bytes_and_another_seed_differs(made, tmp_path):
    out, _ = made
    demo_tracks.make(tmp_path / "again", **SMALL)
    assert hashes(tmp_path / "again") == hashes(out)
    demo_tracks.make(tmp_path / "other", **SMALL, seed=1)
    same = {name for name, digest in hashes(tmp_path / "other").items() if hashes(out).get(name) == digest}
    assert same == {"images_index.tsv"}


def test_every_file_decodes_at_the_stated_length(made):
    out, summary = made
    kinds = set()
    rows = read_csv(out / "tracks.csv")
    assert list(rows[0]) == ["track_id", "audio_path", "artist"]
    assert [row["track_id"] for row in rows] == sorted({row["track_id"] for row in rows})
    assert len(rows) == summary.tracks == 16
    for row in rows:
        samples, rate = soundfile.read(out / row["audio_path"])
        kinds |= {rate, samples.ndim, row["audio_path"][-4:]}
        assert len(samples) == 1.5 * rate
        assert 0.003 < np.abs(samples).max() < 1.1
    assert kinds == {22050, 44100, 1, 2, "flac", ".mp3"}


def test_tables_agree_on_their_ids(made):
    out, summary = made
    description = json.loads((out / "demo.json").read_text())
    rows = read_csv(out / "tracks.csv")
    ids = [row["track_id"] for row in rows]
    assert (out / "images_index.tsv").read_text().split() == ids
    images = np.load(out / "images.npy")
    assert images.shape == (16, 64) and images.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(images, axis=1), 1, atol=1e-6)
    for row in rows:
        text = (out / "texts" / f"{row['track_id']}.txt").read_text()
        assert row["artist"] in text and len(text.split()) > 8
    plays = read_csv(out / "plays.csv")
    assert list(plays[0]) == ["user", "track_id", "count"]
    assert {row["track_id"] for row in plays} <= set(ids) and min(int(row["count"]) for row in plays) >= 1
    assert len({row["user"] for row in plays}) == summary.users
    assert len({(row["user"], row["track_id"]) for row in plays}) == len(plays)
    tags = TagDatabase(out / "tags.db").tags_of_all(ids)
    known = {*plan.AUDIBLE, *plan.MEANINGLESS, *description["synonyms"]}
    assert all(tags.values()) and {tag for given in tags.values() for tag in given} <= known
    assert set(description["truth"]) == set(ids)
    assert set(description["files"]) == set(hashes(out)) - {"demo.json"}


def test_tag_database_has_the_published_schema_by_rowid(made):
    out, _ = made
    with sqlite3.connect(out / "tags.db") as connection:
        columns = {
            table: [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            for table in ("tids", "tags", "tid_tag")
        }
        joined = connection.execute(
            "SELECT COUNT(*) FROM tid_tag JOIN tids ON tid_tag.tid = tids.rowid JOIN tags ON tid_tag.tag = tags.rowid"
        ).fetchone()[0]
        total, largest = connection.execute("SELECT COUNT(*), MAX(val) FROM tid_tag").fetchone()
    connection.close()
    assert columns == {"tids": ["tid"], "tags": ["tag"], "tid_tag": ["tid", "tag", "val"]}
    assert joined == total > 16 and largest <= 100


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_tags_are_dealt_fairly(seed):
    tracks = plan.plan(tracks=160, seed=seed)
    artists = {track.artist for track in tracks}
    assert len(artists) == 20
    count = Counter(tag for track in tracks for tag in track.tags)
    carriers = defaultdict(set)
    for track in tracks:
        for tag in track.tags:
            carriers[tag].add(track.artist)
    for tag in plan.AUDIBLE:
        true = sum(tag in track.truth for track in tracks)
        assert 0.2 * 160 <= count[tag] <= 0.6 * 160, tag
        assert len(carriers[tag]) >= 11, tag
        assert sum(count[other] for other in plan.SYNONYMS[tag]) < count[tag] / 2, tag
        assert 0.85 * true <= count[tag] <= true, tag
        assert all(tag in track.truth for track in tracks if tag in track.tags), tag
    for tag in plan.MEANINGLESS:
        assert 47 <= count[tag] <= 49
        per_artist = Counter(track.artist for track in tracks if tag in track.tags)
        assert {per_artist[artist] for artist in artists} <= {2, 3}  # of 8 tracks: nobody's own word
    dropped = sum(not {tag, *plan.SYNONYMS[tag]} & set(t.tags) for t in tracks for tag in t.truth)
    assert 0 < dropped / sum(len(t.truth) for t in tracks) < 0.06


def test_artists_have_a_style_of_their_own():
    tracks = plan.plan(tracks=160, seed=0)
    tempo = {artist: [t.style.tempo for t in tracks if t.artist == artist] for artist in {t.artist for t in tracks}}
    within = np.mean([np.var(values) for values in tempo.values()])
    assert within < 0.8 * np.var([t.style.tempo for t in tracks])  # 1 − 0.6² expected, of artists without a taste 7/8


def test_listeners_and_images_follow_the_styles(made):
    tracks = plan.plan(tracks=160, seed=0)
    index = {track.track_id: i for i, track in enumerate(tracks)}
    truth = np.array([[tag in track.truth for tag in plan.AUDIBLE] for track in tracks], float)
    truth = (truth - truth.mean(axis=0)) / truth.std(axis=0)
    alike = np.corrcoef(truth)
    pairs = np.triu_indices(160, 1)

    images = demo_tracks._images(tracks, 0)
    assert np.corrcoef((images @ images.T)[pairs], alike[pairs])[0, 1] > 0.4

    heard = defaultdict(list)
    for user, track_id, _ in demo_tracks._plays(tracks, 0):
        heard[user].append(index[track_id])
    together = np.mean([alike[np.ix_(rows, rows)][np.triu_indices(len(rows), 1)].mean() for rows in heard.values()])
    assert together > 0.1 + alike[pairs].mean()


def test_plucked_string_is_in_tune():
    for frequency in (82.4, 220.0, 440.0, 987.8):
        tone = synth._pluck(frequency, synth.RATE, 0.85, np.random.default_rng(0))[2205:]
        spectrum = np.abs(np.fft.rfft(tone * np.hanning(len(tone)), 1 << 18))
        hertz = np.fft.rfftfreq(1 << 18, 1 / synth.RATE)
        near = np.abs(hertz / frequency - 1) < 0.2
        assert 1200 * abs(np.log2(hertz[near][spectrum[near].argmax()] / frequency)) < 5  # cents


@pytest.mark.parametrize("name", sorted(synth.INSTRUMENTS))
@pytest.mark.parametrize("tonic, tempo", [(43, 50), (75, 185)])
def test_instruments_play_at_the_extremes(name, tonic, tempo):
    for loudness, peak in ((-1, 0.04), (0, 0.3), (1, 0.7)):
        style = synth.Style((name,), True, tempo, loudness > 0, tonic, loudness, 0.2, 0.3)
        samples = synth.render(style, 1.0, np.random.default_rng(0))
        assert samples.shape == (synth.RATE, 2) and samples.dtype == np.float32
        assert (
            peak * 0.85 < np.abs(samples).max() < peak * 1.1
        )  # the fade may take the loudest sample; the noise floor is on top


def test_a_second_run_finds_its_own_set(made):
    out, first = made
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    second = demo_tracks.make(out, **SMALL)
    assert second.existing and not first.existing
    assert (second.tracks, second.users, second.tags) == (first.tracks, first.users, first.tags)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_nothing_else_is_overwritten(made, tmp_path):
    out, _ = made
    with pytest.raises(DataError, match=r"seed=0, asked is 3"):
        demo_tracks.make(out, **SMALL, seed=3)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="not empty and holds no demo set"):
        demo_tracks.make(tmp_path / "mine", **SMALL)
    (tmp_path / "mine" / "demo.json").write_text("[1]")
    with pytest.raises(DataError, match="does not describe a demo set"):
        demo_tracks.make(tmp_path / "mine", **SMALL)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    with pytest.raises(DataError, match="is not a folder"):
        demo_tracks.make(tmp_path / "mine" / "thesis.txt", **SMALL)


def test_a_damaged_set_is_named(tmp_path):
    demo_tracks.make(tmp_path / "set", tracks=8, seconds=1)
    with open(tmp_path / "set" / "plays.csv", "a") as file:
        file.write("U00000,DM000000,1\n")
    with pytest.raises(DataError, match=r"plays\.csv: was changed"):
        demo_tracks.make(tmp_path / "set", tracks=8, seconds=1)
    (tmp_path / "set" / "plays.csv").unlink()
    with pytest.raises(DataError, match=r"plays\.csv: is missing"):
        demo_tracks.make(tmp_path / "set", tracks=8, seconds=1)


def test_an_interrupted_run_leaves_nothing(tmp_path):
    def interrupt(tracks):
        yield from tracks[:3]
        assert [path.name.split(".")[:2] for path in tmp_path.iterdir()] == [["", "set"]]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        demo_tracks.make(tmp_path / "set", tracks=8, seconds=1, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "a" / "set").mkdir(parents=True)
    assert not demo_tracks.make(tmp_path / "a" / "set", tracks=8, seconds=1).existing
    assert (tmp_path / "a" / "set" / "demo.json").is_file()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["set"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"tracks": 7}, "tracks=7"),
        ({"seconds": 0.5}, "seconds=0.5"),
        ({"seconds": float("nan")}, "seconds=nan"),
        ({"seconds": 601}, "seconds=601"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_arguments_out_of_range(tmp_path, arguments, message):
    with pytest.raises(ConfigError, match=message):
        demo_tracks.make(tmp_path / "set", **arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_audible_tags_can_be_heard_on_held_out_artists(tmp_path):
    """Logistic regression on mean, deviation and mean step of librosa's 64 log-mel bands, five folds by artist."""
    import librosa
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    demo_tracks.make(tmp_path / "set", seconds=8)
    features = []
    rows = read_csv(tmp_path / "set" / "tracks.csv")
    for row in rows:
        samples, rate = soundfile.read(tmp_path / "set" / row["audio_path"], dtype="float32", always_2d=True)
        mono = librosa.resample(samples.mean(axis=1), orig_sr=rate, target_sr=16000)
        mel = librosa.feature.melspectrogram(y=mono, sr=16000, n_fft=1024, hop_length=256, n_mels=64)
        mel = np.log10(mel + 1e-10)
        mel = (mel - mel.mean()) / mel.std()  # as the tagger does: the level itself gives nothing away
        features.append(np.concatenate([mel.mean(axis=1), mel.std(axis=1), np.abs(np.diff(mel, axis=1)).mean(axis=1)]))
    features = np.array(features)
    tags = TagDatabase(tmp_path / "set" / "tags.db").tags_of_all()
    artists = [row["artist"] for row in rows]
    auc = {}
    for tag in (*plan.AUDIBLE, *plan.MEANINGLESS):
        labels = np.array([tag in tags[row["track_id"]] for row in rows])
        used = features[:, :128] if tag in synth.INSTRUMENTS else features
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, solver="liblinear"))
        scores = cross_val_predict(model, used, labels, groups=artists, cv=GroupKFold(5), method="decision_function")
        auc[tag] = roc_auc_score(labels, scores)
    assert np.mean([auc[tag] for tag in synth.INSTRUMENTS]) > 0.85, auc
    assert np.mean([auc[tag] for tag in plan.AUDIBLE]) > 0.85, auc
    assert min(auc[tag] for tag in plan.AUDIBLE) > 0.65, auc
    assert all(0.3 < auc[tag] < 0.7 for tag in plan.MEANINGLESS), auc
