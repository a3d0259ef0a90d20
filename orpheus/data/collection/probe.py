"""What an audio file says about itself: its length and silence by decoding it once, its names and genres by mutagen."""

import os
import re
from collections.abc import Iterator, Sequence

import numpy as np

from orpheus.data.audio import decoders
from orpheus.errors import DataError

SILENCE_DBFS = -60.0
SILENCE_BLOCK_SECONDS = 0.02
_CHUNK_BLOCKS = 250  # 5 seconds are in memory at a time
# Vorbis comments and mutagen's easy keys; ID3 frames (in WAV and AIFF); ASF.
_METADATA_KEYS = {
    "artist": ("artist", "TPE1", "Author"),
    "album": ("album", "TALB", "WM/AlbumTitle"),
    "title": ("title", "TIT2", "Title"),
    "genre": ("genre", "TCON", "WM/Genre"),
}


def measure(path: str | os.PathLike) -> dict:
    """Decode a file once, in bounded memory.

    Returns:
        ``seconds`` (of the samples that could be decoded: headers of mp3 files are often wrong), ``sample_rate``,
        ``channels``, ``silence_seconds`` and ``longest_silence_seconds``, rounded to milliseconds.

    Raises:
        DataError: not decodable, without samples, or with a sample that is not finite. The message names no path.
    """
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            return _measure(_soundfile_chunks(file), file.samplerate, file.channels)
    except soundfile.LibsndfileError as error:
        refused = decoders.refusal(error)
    with decoders.ffmpeg(path, refused) as (stream, sample_rate, channels):
        chunks = decoders.frames(stream, channels, count=_block_length(sample_rate) * _CHUNK_BLOCKS)
        return _measure(chunks, sample_rate, channels)


def _soundfile_chunks(file) -> Iterator[np.ndarray]:
    """(frames, channels) chunks of whole silence blocks, the last one shorter."""
    buffer = np.empty((_block_length(file.samplerate) * _CHUNK_BLOCKS, file.channels), np.float32)
    while len(chunk := file.read(out=buffer)):
        yield chunk


def _block_length(sample_rate: int) -> int:
    return max(1, round(sample_rate * SILENCE_BLOCK_SECONDS))


def _measure(chunks: Iterator[np.ndarray], sample_rate: int, channels: int) -> dict:
    """Length and silence: a block of 20 ms is silent where its RMS over all channels is below −60 dBFS.

    0 dBFS is an amplitude of 1, so a full-scale sine is at −3 dBFS.
    """
    step, limit = _block_length(sample_rate), 10 ** (SILENCE_DBFS / 10)
    frames = silent = longest = run = 0
    for chunk in chunks:
        if not np.isfinite(chunk).all():
            bad = np.flatnonzero(~np.isfinite(chunk).all(axis=1))[0]
            raise DataError(f"a sample is not finite, at {(frames + bad) / sample_rate:.3f} s")
        power = np.square(chunk, dtype=np.float64).mean(axis=1)
        starts = np.arange(0, len(power), step)
        lengths = np.diff(starts, append=len(power))
        quiet = np.add.reduceat(power, starts) / lengths < limit
        for length, is_silent in zip(lengths.tolist(), quiet.tolist(), strict=True):
            run = run + length if is_silent else 0
            silent += length if is_silent else 0
            longest = max(longest, run)
        frames += len(chunk)
    if not frames:
        raise DataError("no samples in it")
    return {
        "seconds": round(frames / sample_rate, 3),
        "sample_rate": sample_rate,
        "channels": channels,
        "silence_seconds": round(silent / sample_rate, 3),
        "longest_silence_seconds": round(longest / sample_rate, 3),
    }


def read_metadata(path: str | os.PathLike) -> tuple[dict[str, str], list[str], str]:
    """Artist, album and title of a file by mutagen; empty where absent, several values joined by "; ".

    Returns:
        The three names; the genres, each a tag, in the file's order (one field may hold several between semicolons);
        and why the metadata could not be read, empty if it could.
    """
    import mutagen

    note = ""
    try:
        tags = getattr(mutagen.File(path, easy=True), "tags", None)
    except mutagen.MutagenError as error:
        tags, note = None, f"metadata cannot be read ({error})"
    values = {name: _values(tags, keys) for name, keys in _METADATA_KEYS.items()}
    genres = [part.strip() for value in values.pop("genre") for part in value.split(";")]
    names = {name: "; ".join(texts) for name, texts in values.items()}
    return names, [genre for genre in dict.fromkeys(genres) if genre], note


def _values(tags, keys: Sequence[str]) -> list[str]:
    """Texts under the first of `keys` that is there, each on one line of valid Unicode."""
    for key in keys:
        found = tags.get(key) if tags is not None else None
        if found:
            found = getattr(found, "genres", None) or getattr(found, "text", None) or found  # ID3 frames
            texts = [str(value).encode("utf-8", "ignore").decode() for value in found]
            return [text for text in (re.sub(r"[\s\0]+", " ", text).strip() for text in texts) if text]
    return []
