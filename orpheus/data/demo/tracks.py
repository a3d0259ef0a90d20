"""The embedded demo dataset: synthetic tracks whose tags can be heard, with texts, image-like vectors and listeners."""

import io
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orpheus.base import csv_files, files
from orpheus.data.demo import synth
from orpheus.data.demo.plan import ARTISTS, AUDIBLE, MEANINGLESS, PHRASES, SYNONYMS, Track, plan
from orpheus.data.tags.database import TagDatabase
from orpheus.errors import ConfigError, DataError

VERSION = 1
"""Of the generator: a set made by another version is not the same set."""

MAX_SECONDS = 600.0
_IMAGE_SIZE = 64


@dataclass(frozen=True)
class DemoSummary:
    """What `make` made or found.

    Attributes:
        out: The folder.
        tracks, artists, users: How many.
        seconds: Length of every track.
        tags: Distinct tag strings in tags.db.
        existing: True where the same set was there already and nothing was written.
    """

    out: Path
    tracks: int
    artists: int
    users: int
    seconds: float
    tags: int
    existing: bool


def make(
    out: str | os.PathLike,
    *,
    tracks: int = 160,
    seconds: float = 12.0,
    seed: int = 0,
    progress: Callable[[Sequence[Track]], Iterable[Track]] = iter,
) -> DemoSummary:
    """Write the demo dataset into a folder.

    The folder holds ``audio/ID.flac`` and ``.mp3`` (22,050 or 44,100 Hz, mono or stereo), ``tracks.csv``
    (``track_id,audio_path,artist``), ``tags.db`` (Last.fm schema), ``texts/ID.txt``, ``images.npy`` (float32,
    tracks × 64, rows as in ``images_index.tsv``), ``plays.csv`` (``user,track_id,count``) and ``demo.json``: the
    arguments, which tags are ``audible`` and which ``meaningless``, ``synonyms`` (spelling → tag), ``truth`` (track →
    audible tags before people forgot or respelled them) and ``files`` (path → SHA-256). It appears under its name only
    when complete.

    Args:
        out: Folder to make; missing, empty, or holding the same set already.
        tracks: Number of tracks, 8 or more.
        seconds: Length of each, 1 to 600.
        seed: The same seed gives the same bytes (with the same versions of the libraries).
        progress: Wraps the sequence of tracks while they are played, for a progress bar.

    Returns:
        Counts, and whether the set was there already.

    Raises:
        ConfigError: an argument is out of range.
        DataError: `out` holds something else; nothing of it is touched.
    """
    if tracks < 8:
        raise ConfigError(f"tracks={tracks}: a demo set needs 8 tracks or more")
    if not 1 <= seconds <= MAX_SECONDS:
        raise ConfigError(f"seconds={seconds:g}: must be from 1 to {MAX_SECONDS:g}")
    if seed < 0:
        raise ConfigError(f"seed={seed}: must be 0 or more")
    made = {"version": VERSION, "tracks": tracks, "seconds": float(seconds), "seed": seed}
    out = Path(out).absolute()
    if out.is_symlink() or out.exists():
        if not out.is_dir():
            raise DataError(f"{out}: is not a folder; name another one")
        if any(out.iterdir()):
            return _existing(out, made)
    with files.whole(out) as temporary:
        temporary.mkdir()
        return _write(temporary, out, made, progress)


def _play(track: Track, seconds: float, seed: int) -> np.ndarray:
    """The track's samples, (samples,) or (samples, 2) float32, at its sample rate and `round(seconds * rate)` long."""
    from scipy.signal import resample_poly

    samples = synth.render(track.style, seconds, np.random.default_rng([seed, 1, track.number]))
    if track.channels == 1:
        samples = samples.mean(axis=1)
    factor = track.sample_rate // synth.RATE
    if factor > 1:
        samples = resample_poly(samples, factor, 1, axis=0)
        missing = round(seconds * track.sample_rate) - len(samples)
        samples = np.pad(samples, [(0, max(0, missing)), *[(0, 0)] * (samples.ndim - 1)], mode="edge")
        samples = samples[: round(seconds * track.sample_rate)]
    return np.clip(samples, -0.99, 0.99)


def _text(track: Track, rng: np.random.Generator) -> str:
    """Two or three sentences about a track."""
    say = {tag: PHRASES[tag][rng.integers(len(PHRASES[tag]))] for tag in track.truth}
    players = " and ".join(say[name] for name in track.style.instruments)
    where = [say[tag] for tag in ("drums", "high", "low") if tag in say]
    mood = [say[tag] for tag in ("happy", "sad", "loud", "quiet") if tag in say]
    pace = next((say[tag] for tag in ("fast", "slow") if tag in say), "It walks along")
    opening = ("This piece by {} has", "{} recorded this with", "On this one {} bring in")[rng.integers(3)]
    first = ", ".join([f"{opening.format(track.artist)} {players}", *where])
    return f"{first}. {pace}, {', '.join(mood)}.\n"


def _character(tracks: Sequence[Track]) -> np.ndarray:
    """(tracks, AUDIBLE) float: the audible tags, each column at mean 0 and deviation 1 where it varies."""
    hot = np.array([[tag in track.truth for tag in AUDIBLE] for track in tracks], float)
    return (hot - hot.mean(axis=0)) / np.maximum(hot.std(axis=0), 1e-9)


def _images(tracks: Sequence[Track], seed: int) -> np.ndarray:
    """(tracks, 64) float32 of unit length: a random projection of the track's and its artist's character, and noise."""
    rng = np.random.default_rng([seed, 2])
    character = _character(tracks)
    artist = np.array([ARTISTS.index(track.artist) for track in tracks])
    look = rng.standard_normal((len(ARTISTS), len(AUDIBLE)))
    mixed = np.hstack([character, 0.5 * look[artist]])
    # einsum, not a matrix product: its sums do not depend on the number of threads
    vectors = np.einsum("ti,ij->tj", mixed, rng.standard_normal((mixed.shape[1], _IMAGE_SIZE)))
    vectors += 0.6 * vectors.std() * rng.standard_normal(vectors.shape)
    return (vectors / np.sqrt((vectors**2).sum(axis=1, keepdims=True))).astype(np.float32)


def _plays(tracks: Sequence[Track], seed: int) -> list[tuple[str, str, int]]:
    """(user, track, count) of users who like a few tags, dislike a few, and know a few artists better."""
    rng = np.random.default_rng([seed, 3])
    character = _character(tracks)
    artist = np.array([ARTISTS.index(track.artist) for track in tracks])
    rows = []
    for user in range(_users(len(tracks))):
        chosen = rng.permutation(len(AUDIBLE))[:5]
        taste = (character[:, chosen] * np.array([1.2, 1.0, 0.8, -0.8, -1.0])).sum(axis=1)
        taste += 0.8 * np.isin(artist, rng.integers(len(ARTISTS), size=2)) + 0.3 * rng.standard_normal(len(tracks))
        heard = np.sort(np.argsort(-(taste + rng.gumbel(size=len(tracks))), kind="stable")[: max(3, len(tracks) // 8)])
        counts = 1 + rng.poisson(np.exp(np.clip(taste[heard], -2, 3)))
        rows += [(f"U{user:05d}", tracks[i].track_id, int(count)) for i, count in zip(heard, counts, strict=True)]
    return rows


def _users(tracks: int) -> int:
    return 3 * tracks // 2


def _write(folder: Path, out: Path, made: dict, progress: Callable[[Sequence[Track]], Iterable[Track]]) -> DemoSummary:
    """Write everything into `folder`, demo.json last."""
    import soundfile

    seed, seconds = made["seed"], made["seconds"]
    tracks = plan(tracks=made["tracks"], seed=seed)
    rng = np.random.default_rng([seed, 4])
    for name in ("audio", "texts"):
        (folder / name).mkdir()
    for track in progress(tracks):
        encoded = io.BytesIO()  # so that a full disk is an OSError of Python's and not one of libsndfile's
        name = track.audio_path
        soundfile.write(encoded, _play(track, seconds, seed), track.sample_rate, format=name.rpartition(".")[2])
        (folder / name).write_bytes(encoded.getbuffer())
        (folder / "texts" / f"{track.track_id}.txt").write_bytes(_text(track, rng).encode())
    _write_csv(
        folder / "tracks.csv",
        ("track_id", "audio_path", "artist"),
        ((t.track_id, t.audio_path, t.artist) for t in tracks),
    )
    _write_csv(folder / "plays.csv", ("user", "track_id", "count"), _plays(tracks, seed))
    rows = [(track.track_id, tag, weight) for track in tracks for tag, weight in track.tags.items()]
    counts = TagDatabase.write(folder / "tags.db", rows, tracks=[track.track_id for track in tracks])
    np.save(folder / "images.npy", _images(tracks, seed))
    (folder / "images_index.tsv").write_bytes("".join(f"{track.track_id}\n" for track in tracks).encode())
    summary = DemoSummary(
        out, len(tracks), len({track.artist for track in tracks}), _users(len(tracks)), seconds, counts["tags"], False
    )
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    description = {
        **made,
        "artists": summary.artists,
        "users": summary.users,
        "tags": summary.tags,
        "audible": list(AUDIBLE),
        "meaningless": list(MEANINGLESS),
        "synonyms": {spelling: tag for tag, spellings in SYNONYMS.items() for spelling in spellings},
        "truth": {track.track_id: list(track.truth) for track in tracks},
        "files": {path.relative_to(folder).as_posix(): files.content_hash(path) for path in paths},
    }
    files.write_json(folder / "demo.json", description)
    return summary


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence]) -> None:
    """A CSV with ``\\n`` line ends."""
    path.write_bytes(csv_files.text([header, *rows]).encode())


def _existing(out: Path, made: dict) -> DemoSummary:
    """The summary of the set in `out`, if it is the one that `made` describes and whole."""
    cure = "name another folder or remove this one"
    if not (out / "demo.json").is_file():
        raise DataError(f"{out}: is not empty and holds no demo set; {cure}")
    found = files.read_json(out / "demo.json")
    described = isinstance(found, dict) and {"artists", "users", "tags", "files"} <= found.keys()
    if not described or not isinstance(found["files"], dict):
        raise DataError(f"{out / 'demo.json'}: does not describe a demo set; {cure}")
    for key, value in made.items():
        if found.get(key) != value:
            raise DataError(f"{out}: holds a demo set with {key}={found.get(key)!r}, asked is {value!r}; {cure}")
    for name, digest in found["files"].items():
        if not (out / name).is_file() or files.content_hash(out / name) != digest:
            state = "was changed" if (out / name).is_file() else "is missing"
            raise DataError(f"{out / name}: {state} since the demo set was made; {cure}")
    return DemoSummary(out, found["tracks"], found["artists"], found["users"], found["seconds"], found["tags"], True)
