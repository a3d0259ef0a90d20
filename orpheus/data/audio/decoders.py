"""Who decodes which audio file: libsndfile what it knows, ffmpeg (where it is installed) the rest.

No declared length is trusted: what decodes is what there is.
"""

import contextlib
import functools
import mmap
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from orpheus.data.audio import ffmpeg, flac, mpeg, ogg, splice
from orpheus.data.audio.account import Account, Blocks, Damage, block_frames, counted, without
from orpheus.errors import DataError

# libsndfile's first; what it does not know goes to ffmpeg.
SUFFIXES = frozenset(
    f".{name}"
    for names in (
        "aif aifc aiff au caf flac mp2 mp3 oga ogg opus rf64 snd w64 wav",
        "3gp aac ac3 amr ape dsf m4a m4b mka mpc tta wma wv",
    )
    for name in names.split()
)
_SMALL = 64  # frames: how closely the place is found where libsndfile gives up
_HEADER_BYTES = 1024  # a file without samples is not larger
_IN_MEMORY = 32 << 20  # bytes: larger files are copied to the disk while they are walked
_MISSING = 0.01  # of a declared length: fewer is no damage but another way to count
# The samples' chunk of WAV, AIFF and AU; the whole file of those with sizes of 64 bits, W64 and RF64.
_CUT = re.compile(r"^ *(data|SSND|Data Size|riff|Riff size) *: (\d+) \(should be (\d+)\)", re.MULTILINE)


class _GaveUp(Exception):
    """libsndfile cannot read on.

    Args:
        why: In words.
        expected: Seconds of the whole file, as far as they are known.
    """

    def __init__(self, why: str, expected: float | None = None):
        super().__init__(why)
        self.why, self.expected = why, expected


def decode(path: Path, account: Account) -> Blocks:
    """Decode a file to the real end of its data, in blocks of at most ten seconds.

    Args:
        path: The file.
        account: Receives rate, channels, seconds and damage; complete when the last block has been yielded.

    Raises:
        DataError: nothing of it can be decoded. The message names no path.
    """
    try:
        yield from counted(_by_libsndfile(path, account), account)
        return
    except _GaveUp as stop:
        why, expected = stop.why, stop.expected
    began = account.seconds
    try:
        with ffmpeg.decoded(path, why) as pipe:
            yield from counted(without(pipe.blocks(), round(began * pipe.sample_rate)), account)
    except DataError as error:
        if not began:
            raise
        pipe = None
        why = str(error)
    trouble = pipe.trouble if pipe else ""
    expected = expected or (pipe.seconds if pipe else None)
    lost = None if expected is None else max(0.0, expected - account.lost_seconds - account.seconds)
    if trouble or (began and not pipe) or (lost and lost > _MISSING * (expected or 0)):
        words = [why] if began else []
        words += [f"ffmpeg: {trouble}"] if trouble else [] if words else ["ends early"]
        account.damage.append(Damage(began if began else None, lost, "; ".join(words)))


def _by_libsndfile(path: Path, account: Account) -> Blocks:
    """What libsndfile makes of a file, its header's count of frames replaced by the true one where that is known.

    Raises:
        _GaveUp: it does not know the format, or what follows is broken.
    """
    import soundfile

    refused, kind, file = "", path.suffix.lower().lstrip("."), None
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(_open(path))
            kind = file.format.lower()
        except (soundfile.LibsndfileError, TypeError) as error:
            refused = decoder_message(error)
        walk = {"mp2": _mpeg, "mp3": _mpeg, "flac": _flac, "ogg": _ogg}.get(kind)
        if walk and (yield from walk(path, file, account)):
            return
        if file is None:
            raise _GaveUp(refused)
        yield from _plain(path, file, account)


def _plain(path: Path, file, account: Account) -> Blocks:
    """A format whose length libsndfile finds out by itself."""
    read, declared, rate = 0, file.frames, file.samplerate
    for block in _read(file, lambda: _open(path)):
        read += len(block)
        yield block, rate
    if not read and path.stat().st_size > _HEADER_BYTES:
        raise _GaveUp("no samples, its header says")
    # Of chunks that are longer than the file, libsndfile says so in its log: "data : 480000 (should be 239978)".
    if cut := _CUT.search(file.extra_info):
        said, there = map(int, cut.groups()[1:])
        if (
            said < (1 << 40 if "iff" in cut[1] else 0x7FFF0000) and there
        ):  # what is written by programs that cannot go back to fill it in
            declared = read * said // there
    if 0 < declared < 1 << 40 and declared - read > _MISSING * declared:
        account.damage.append(Damage(read / rate, (declared - read) / rate, "ends early"))


def _mpeg(path: Path, file, account: Account) -> Generator[tuple[np.ndarray, int], None, bool]:
    """MPEG audio, stream by stream; False where there is none in the file."""
    import soundfile

    data = _content(path)
    streams = mpeg.walk(data)
    if not streams:
        return False
    expected = 0.0
    for stream in streams:
        account.damage += [Damage(expected + at, lost, "no MPEG audio there") for at, lost in stream.lost()]
        expected += stream.seconds
    # Most files are as their header says: they need no repair.
    only = streams[0] if len(streams) == 1 and not streams[0].gaps else None
    whole = file and only and (only.declared == only.frames or (not only.info and file.frames >= only.samples))
    for stream in streams:
        read = 0

        def again(stream=stream):
            return _open(mpeg.repaired(data, stream)[0])

        try:
            with file if whole else again() as sound:
                surplus = 0 if whole else mpeg.repaired(data, stream)[1]
                blocks = ((block, sound.samplerate) for block in _read(sound, again))
                for block, rate in without(blocks, surplus):
                    read += len(block)
                    yield block, rate
        except soundfile.LibsndfileError as error:
            raise _GaveUp(decoder_message(error), expected + account.lost_seconds) from None
        except _GaveUp as stop:
            raise _GaveUp(stop.why, expected + account.lost_seconds) from None
        if stream.frames - read / stream.frame_samples > 4:  # of which delay and padding of the encoder are three
            raise _GaveUp("libsndfile stops", expected + account.lost_seconds)
    return True


def _flac(path: Path, file, account: Account) -> Generator[tuple[np.ndarray, int], None, bool]:
    """FLAC, from one damaged frame to the next whole one; False where it has no frames."""
    import soundfile

    with open(path, "rb") as opened:
        data = splice.OnDisk(opened)
        stream = flac.stream(data)
        total = flac.samples(data, stream) if stream else 0
    if stream is None or not total:
        return False
    at, position, rate, base = 0, stream.begin, stream.sample_rate, account.seconds
    whole = file and stream.declared == total and stream.end == len(data)
    content = functools.cache(lambda: _content(path))  # of most files the header and the last frame are enough
    if stream.declared not in (0, total):
        _check_joined(content(), stream)
    what: str | None = ""
    while what is not None:
        begun = at

        def again(position=position, begun=begun):
            return _open(flac.repaired(content(), stream, position, total - begun))

        what = None
        try:
            with file if whole else again() as sound:
                for block in _read(sound, again):
                    at += len(block)
                    yield block, rate
        except soundfile.LibsndfileError as error:
            what = decoder_message(error)
        except _GaveUp as stop:
            what = stop.why
        if what is not None:
            _check_joined(content(), stream)
            whole, found = False, (frame for frame in flac.frames(content(), stream, position + 1) if frame.first > at)
            if (frame := next(found, None)) is None:
                break
            account.damage.append(Damage(at / rate + base - account.lost_seconds, (frame.first - at) / rate, what))
            at, position = frame.first, frame.position
    missing = max(total, stream.declared) - at
    if missing > (0 if what else _MISSING * stream.declared):
        account.damage.append(Damage(account.seconds, missing / rate, what or "ends early"))
    return True


def _check_joined(content: mmap.mmap | bytes, stream: flac.Stream) -> None:
    """Leave a file behind which another one begins to ffmpeg: its frames are numbered from 0 again."""
    if flac.another(content, stream):
        raise _GaveUp("another FLAC file behind it")


@functools.cache
def _sequential() -> type:
    import soundfile

    class Sequential(soundfile.SoundFile):
        """Read from beginning to end: soundfile seeks after each block, which fails at damage and behind the last one."""

        def seekable(self) -> bool:
            return False

    return Sequential


def _open(source):
    """A file, by path or as a Python file, for libsndfile."""
    # A path as bytes, since soundfile cannot encode one that is no UTF-8.
    return _sequential()(os.fsencode(source) if isinstance(source, Path) else source)


def _ogg(path: Path, file, account: Account) -> Generator[tuple[np.ndarray, int], None, bool]:
    """Ogg, stream by stream; False where there is none in the file."""
    import soundfile

    data = _content(path)
    streams = ogg.walk(data)
    if not streams or file is None:
        return False
    for number, stream in enumerate(streams):

        def again(stream=stream):
            return _open(splice.Spliced(data, [(stream.start, stream.stop)]))

        base, read = account.seconds, 0
        try:
            with again() if len(streams) > 1 else file as sound:
                rate = sound.samplerate
                for block in _read(sound, again):
                    read += len(block)
                    yield block, rate
        except soundfile.LibsndfileError as error:
            raise _GaveUp(decoder_message(error)) from None
        clock = stream.rate or rate
        missing = max(0.0, stream.length / clock - read / rate) if stream.holes else 0.0
        pages = sum(count for _, count in stream.holes)
        for position, count in stream.holes:
            account.damage.append(
                Damage(base + position / clock, missing * count / pages, f"{count} Ogg pages missing")
            )
        if not stream.is_whole:
            what = "ends early, without a last page"
            account.damage.append(Damage(account.seconds, None, what if len(streams) == 1 else f"{what} ({number})"))
    return True


def _read(file, again: Callable[[], Any]) -> Iterator[np.ndarray]:
    """Blocks of an open file.

    Args:
        file: From soundfile.
        again: Opens it once more, to find out how far it can be read.

    Raises:
        _GaveUp: it can be read no further.
    """
    import soundfile

    read, count = 0, block_frames(file.samplerate, file.channels)
    while True:
        try:
            block = file.read(count, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            why = decoder_message(error)
            break
        if not len(block):
            return
        read += len(block)
        yield block
    pieces = []
    with contextlib.suppress(soundfile.LibsndfileError), again() as file:
        while read > 0:
            read -= len(file.read(min(read, count), dtype="float32"))
        while len(block := file.read(_SMALL, dtype="float32", always_2d=True)):
            pieces.append(block)
    if pieces:
        yield np.concatenate(pieces)
    raise _GaveUp(why)


def _content(path: Path) -> mmap.mmap | bytes:
    """The file's bytes as they are now, closed when nothing refers to a part of them any more.

    A mapping of the file itself would end the process (SIGBUS) if somebody truncated the file meanwhile.
    """
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size <= _IN_MEMORY:
            return file.read()
        with tempfile.TemporaryFile() as copy:  # has no name: nobody else can truncate it
            shutil.copyfileobj(file, copy, 1 << 20)
            copy.flush()
            return mmap.mmap(copy.fileno(), 0, access=mmap.ACCESS_READ)


def decoder_message(error: Exception) -> str:
    """Why libsndfile could not open or read a file, from soundfile's exception."""
    if isinstance(error, TypeError):  # soundfile asks for rate and channels of a file named .raw
        return "raw samples without a header"
    reason = str(getattr(error, "error_string", error)).removeprefix("Error : ").rstrip(".")
    # libsndfile's word for content that no decoder recognised:
    return "format not recognised" if "not a regular file" in reason else reason
