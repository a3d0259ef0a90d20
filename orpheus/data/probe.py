"""What an audio file says about itself: its length and silence by decoding it once, its names and genres by mutagen."""

import os
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Sequence

import numpy as np

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
        reason = str(error.error_string).removeprefix("Error : ").rstrip(".")
    if "not a regular file" in reason:  # libsndfile's word for content that no decoder recognised
        reason = "format not recognised"
    if shutil.which("ffmpeg") is None:
        raise DataError(f"not decodable ({reason}; ffmpeg, which may know the format, is not installed)")
    with tempfile.TemporaryFile() as messages:
        # An absolute path, since ffmpeg takes "a:b.m4a" for a protocol. AU can be read from a pipe, and its header
        # gives rate and channels.
        source = ["ffmpeg", "-nostdin", "-v", "error", "-i", os.path.abspath(path)]
        command = [*source, "-map", "0:a:0", "-c:a", "pcm_f32be", "-f", "au", "-"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=messages) as process:
            stream = process.stdout
            assert stream is not None  # a pipe was asked for
            try:
                header = stream.read(24)
                if len(header) == 24:
                    magic, start, _, _, sample_rate, channels = struct.unpack(">4s5I", header)
                    if magic != b".snd":
                        raise DataError("not decodable (ffmpeg gave no AU stream)")
                    stream.read(start - 24)
                    facts = _measure(_raw_chunks(stream, sample_rate, channels), sample_rate, channels)
            finally:
                stream.close()
                process.wait()
        if process.returncode or len(header) < 24:
            messages.seek(0)
            said = messages.read()[-2000:].decode("utf-8", "replace").replace(source[-1], "").split("\n")
            last = next((line.strip(" :") for line in reversed(said) if line.strip(" :")), f"code {process.returncode}")
            raise DataError(f"not decodable ({reason}; ffmpeg: {last})")
    return facts


def _soundfile_chunks(file) -> Iterator[np.ndarray]:
    """(frames, channels) chunks of whole silence blocks, the last one shorter."""
    buffer = np.empty((_block_length(file.samplerate) * _CHUNK_BLOCKS, file.channels), np.float32)
    while len(chunk := file.read(out=buffer)):
        yield chunk


def _raw_chunks(stream, sample_rate: int, channels: int) -> Iterator[np.ndarray]:
    """The same of big-endian float32 samples."""
    size = _block_length(sample_rate) * _CHUNK_BLOCKS * channels * 4
    while data := stream.read(size):
        samples = np.frombuffer(data[: len(data) // (4 * channels) * 4 * channels], ">f4")
        yield samples.reshape(-1, channels)


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
