"""What an audio file says about itself: its length and silence by decoding it once, its names and genres by mutagen."""

import itertools
import os
import re
from collections.abc import Sequence

import numpy as np

from orpheus.data.audio import reading
from orpheus.data.audio.account import Account, Blocks
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


def measure(path: str | os.PathLike, *, damaged: str = reading.KEEP) -> dict:
    """Decode a file once, in bounded memory.

    Args:
        path: The file.
        damaged: ``"keep"`` measures what can be decoded of a damaged file, ``"skip"`` refuses it.

    Returns:
        ``seconds`` (of the samples that could be decoded: headers of mp3 files are often wrong), ``sample_rate``,
        ``channels``, ``silence_seconds`` and ``longest_silence_seconds``, ``lost_seconds`` (what damage cost), rounded to
        milliseconds, and ``damage``, in words.

    Raises:
        DataError: not decodable, without samples, or with a sample that is not finite, or damaged and not to be kept; the message starts with the path.
    """
    account = Account()
    facts = _silence(path, reading.blocks(path, account))
    reading.refuse_damage(path, account, damaged)
    return {
        "seconds": round(account.seconds, 3),
        "sample_rate": account.sample_rate,
        "channels": account.channels,
        **facts,
        "lost_seconds": round(account.lost_seconds, 3),
        "damage": str(account),
    }


def _block_length(sample_rate: int) -> int:
    return max(1, round(sample_rate * SILENCE_BLOCK_SECONDS))


def _silence(path: str | os.PathLike, blocks: Blocks) -> dict:
    """Silence: a block of 20 ms is silent where its RMS over all channels is below −60 dBFS.

    0 dBFS is an amplitude of 1, so a full-scale sine is at −3 dBFS.
    """
    limit = 10 ** (SILENCE_DBFS / 10)
    seconds = silent = longest = run = 0.0
    for chunk, rate in _whole(blocks):
        if not np.isfinite(chunk).all():
            bad = np.flatnonzero(~np.isfinite(chunk).all(axis=1))[0]
            raise DataError(f"{path}: a sample is not finite, at {seconds + bad / rate:.3f} s")
        power = np.square(chunk, dtype=np.float64).mean(axis=1)
        starts = np.arange(0, len(power), _block_length(rate))
        lengths = np.diff(starts, append=len(power))
        quiet = np.add.reduceat(power, starts) / lengths < limit
        for length, is_silent in zip(lengths.tolist(), quiet.tolist(), strict=True):
            run = run + length / rate if is_silent else 0.0
            silent += length / rate if is_silent else 0.0
            longest = max(longest, run)
        seconds += len(chunk) / rate
    if not seconds:
        raise DataError(f"{path}: no samples in it")
    return {"silence_seconds": round(silent, 3), "longest_silence_seconds": round(longest, 3)}


def _whole(blocks: Blocks) -> Blocks:
    """The same in chunks of some seconds that are whole blocks of silence, but for the last of a sample rate."""
    for rate, stretch in itertools.groupby(blocks, key=lambda pair: pair[1]):
        count, rest = _block_length(rate) * _CHUNK_BLOCKS, None
        for block, _ in stretch:
            rest = block if rest is None or rest.shape[1] != block.shape[1] else np.concatenate([rest, block])
            whole = len(rest) // count * count
            for start in range(0, whole, count):
                yield rest[start : start + count], rate
            rest = rest[whole:]
        if rest is not None and len(rest):
            yield rest, rate


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
