"""Who decodes which audio file: libsndfile what it knows, ffmpeg (where it is installed) the rest.

No declared length is trusted: what decodes is what there is.
"""

import contextlib
import functools
import mmap
import os
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from orpheus.data.audio import flac, mpeg
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
SAMPLE_RATES = (1000, 1_536_000)  # Hz; a header that says something else lies, and resampling would cost memory
BLOCK_SECONDS = 10
_BLOCK_VALUES = 1 << 22  # in a block at most: a header may declare a thousand channels
_SMALL = 64  # frames: how closely the place is found where libsndfile gives up
_HEADER_BYTES = 1024  # a file without samples is not larger
_MISSING = 0.01  # of a declared length: fewer is no damage but another way to count

Blocks = Iterator[tuple[np.ndarray, int]]  # ((frames, channels) float32, sample rate)


class Damage(NamedTuple):
    """A place where a file could not be decoded as it should.

    Attributes:
        at: Seconds of decoded audio before it; None if unknown.
        lost: Seconds that are missing there; None if unknown.
        what: In words.
    """

    at: float | None
    lost: float | None
    what: str

    def __str__(self) -> str:
        lost = "" if self.lost is None else f"{self.lost:.2f} s lost"
        place = " ".join(part for part in (lost, "" if self.at is None else f"at {self.at:.2f} s") if part)
        return f"{place} ({self.what})" if place else self.what


@dataclass
class Account:
    """What became of a file while it was decoded.

    Attributes:
        sample_rate: Hz, of its first block.
        channels: Likewise.
        seconds: Decoded so far.
        damage: Where it is damaged.
    """

    sample_rate: int = 0
    channels: int = 0
    seconds: float = 0.0
    damage: list[Damage] = field(default_factory=list)

    @property
    def lost_seconds(self) -> float:
        """Seconds known to be missing."""
        return sum((one.lost or 0.0 for one in self.damage), 0.0)

    def __str__(self) -> str:
        """One line: the first places."""
        more = len(self.damage) - 3
        return "; ".join(map(str, self.damage[:3])) + (f"; and {more} more" if more > 0 else "")


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
        with ffmpeg(path, why) as pipe:
            yield from counted(_without(pipe.blocks(), round(began * pipe.sample_rate)), account)
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


def counted(blocks: Blocks, account: Account) -> Blocks:
    """Pass blocks on and keep the account."""
    for block, rate in blocks:
        if not SAMPLE_RATES[0] <= rate <= SAMPLE_RATES[1]:
            raise DataError(f"sample rate {rate} Hz: not between {SAMPLE_RATES[0]} and {SAMPLE_RATES[1]}")
        if not account.sample_rate:
            account.sample_rate, account.channels = rate, block.shape[1]
        # Before it is passed on: whoever takes the last block may not ask for another.
        account.seconds += len(block) / rate
        yield block, rate


def _without(blocks: Blocks, frames: int) -> Blocks:
    """Blocks but for the first frames."""
    for block, rate in blocks:
        if frames < len(block):
            yield block[frames:], rate
        frames = max(0, frames - len(block))


def block_frames(sample_rate: int, channels: int) -> int:
    """Frames of a block: ten seconds, or fewer of very many channels."""
    return max(1, min(BLOCK_SECONDS * sample_rate, _BLOCK_VALUES // channels))


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
            refused = refusal(error)
        if kind in ("mp2", "mp3", "flac"):
            data = stack.enter_context(_mapped(path))
            walked = _mpeg(data, file, account) if kind != "flac" else _flac(data, file, account)
            if (yield from walked):
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
    if cut := re.search(r"^ ?(?:data|SSND) : (\d+) \(should be (\d+)\)", file.extra_info, re.MULTILINE):
        said, there = map(int, cut.groups())
        if said < 0x7FFF0000 and there:  # what is written by programs that cannot go back to fill it in
            declared = read * said // there
    if 0 < declared < 1 << 40 and declared - read > _MISSING * declared:
        account.damage.append(Damage(read / rate, (declared - read) / rate, "ends early"))


def _mpeg(data: mmap.mmap, file, account: Account) -> Generator[tuple[np.ndarray, int], None, bool]:
    """MPEG audio, stream by stream; False where there is none in the file."""
    import soundfile

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
                for block, rate in _without(blocks, surplus):
                    read += len(block)
                    yield block, rate
        except soundfile.LibsndfileError as error:
            raise _GaveUp(refusal(error), expected + account.lost_seconds) from None
        except _GaveUp as stop:
            raise _GaveUp(stop.why, expected + account.lost_seconds) from None
        if stream.frames - read / stream.frame_samples > 4:  # of which delay and padding of the encoder are three
            raise _GaveUp("libsndfile stops", expected + account.lost_seconds)
    return True


def _flac(data: mmap.mmap, file, account: Account) -> Generator[tuple[np.ndarray, int], None, bool]:
    """FLAC, from one damaged frame to the next whole one; False where it has no frames."""
    import soundfile

    stream = flac.stream(data)
    total = flac.samples(data, stream) if stream else 0
    if stream is None or not total:
        return False
    at, position, rate, base = 0, stream.begin, stream.sample_rate, account.seconds
    whole = file and stream.declared == total and stream.end == len(data)
    what: str | None = ""
    while what is not None:
        begun = at

        def again(position=position, begun=begun):
            return _open(flac.repaired(data, stream, position, total - begun))

        what = None
        try:
            with file if whole else again() as sound:
                for block in _read(sound, again):
                    at += len(block)
                    yield block, rate
        except soundfile.LibsndfileError as error:
            what = refusal(error)
        except _GaveUp as stop:
            what = stop.why
        if what is not None:
            whole, found = False, (frame for frame in flac.frames(data, stream, position + 1) if frame.first > at)
            if (frame := next(found, None)) is None:
                break
            account.damage.append(Damage(at / rate + base - account.lost_seconds, (frame.first - at) / rate, what))
            at, position = frame.first, frame.position
    missing = max(total, stream.declared) - at
    if missing > (0 if what else _MISSING * stream.declared):
        account.damage.append(Damage(account.seconds, missing / rate, what or "ends early"))
    return True


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
    return _sequential()(source)


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
            why = refusal(error)
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


@contextlib.contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data


def refusal(error: Exception) -> str:
    """Why libsndfile could not open or read a file, from soundfile's exception."""
    if isinstance(error, TypeError):  # soundfile asks for rate and channels of a file named .raw
        return "raw samples without a header"
    reason = str(getattr(error, "error_string", error)).removeprefix("Error : ").rstrip(".")
    # libsndfile's word for content that no decoder recognised:
    return "format not recognised" if "not a regular file" in reason else reason


@dataclass
class Pipe:
    """What ffmpeg decodes.

    Attributes:
        stream: Big-endian 32-bit floats, channels interleaved.
        sample_rate: Hz.
        channels: How many.
        trouble: What ffmpeg complained about, when it has ended.
        seconds: The file's length as its container declares it, likewise; None if it does not.
    """

    stream: IO[bytes]
    sample_rate: int
    channels: int
    trouble: str = ""
    seconds: float | None = None

    def blocks(self) -> Blocks:
        """All of it."""
        while data := self.stream.read(block_frames(self.sample_rate, self.channels) * self.channels * 4):
            samples = np.frombuffer(data[: len(data) // (4 * self.channels) * 4 * self.channels], ">f4")
            yield samples.astype(np.float32).reshape(-1, self.channels), self.sample_rate


@contextlib.contextmanager
def ffmpeg(path: str | os.PathLike, refused: str) -> Iterator[Pipe]:
    """Decode a file with ffmpeg, at its own rate and with all its channels.

    Args:
        path: The file.
        refused: Why libsndfile did not take it; part of the message.

    Raises:
        DataError: ffmpeg is not installed or decodes nothing of the file. The message names no path.
    """
    if shutil.which("ffmpeg") is None:
        raise DataError(f"not decodable ({refused}; ffmpeg, which may know the format, is not installed)")
    # An absolute path, since ffmpeg takes "a:b.m4a" for a protocol. AU can be read from a pipe, and its header gives
    # rate and channels. Messages go to a file: a pipe that nobody reads would fill up and stop ffmpeg.
    source = ["ffmpeg", "-nostdin", "-hide_banner", "-nostats", "-v", "level+info", "-i", os.path.abspath(path)]
    command = [*source, "-map", "0:a:0", "-c:a", "pcm_f32be", "-f", "au", "-"]
    pipe = None
    with tempfile.TemporaryFile() as messages:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=messages) as process:
            stream = process.stdout
            assert stream is not None  # a pipe was asked for
            try:
                header = stream.read(24)
                if len(header) == 24:
                    magic, start, _, _, sample_rate, channels = struct.unpack(">4s5I", header)
                    if magic != b".snd" or not channels:
                        raise DataError("not decodable (ffmpeg gave no AU stream)")
                    stream.read(start - 24)
                    pipe = Pipe(stream, sample_rate, channels)
                    yield pipe
            finally:
                stream.close()
                process.wait()
        messages.seek(0)
        said = messages.read(1 << 20).decode("utf-8", "replace").replace(source[-1], "")
    trouble = _complaints(said, process.returncode)
    if pipe is None:
        raise DataError(f"not decodable ({refused}; ffmpeg: {trouble or 'gave nothing'})")
    pipe.trouble = trouble
    found = re.search(r"^\[info\]   Duration: (\d+):(\d+):(\d+\.\d+)", said, re.MULTILINE)
    if found and "Estimating duration from bitrate" not in said:
        hours, minutes, seconds = map(float, found.groups())
        pipe.seconds = hours * 3600 + minutes * 60 + seconds


def _complaints(said: str, code: int) -> str:
    """The errors among ffmpeg's messages, one of each kind, in a line; empty where there are none and it ended well."""
    if "matches no streams" in said:
        return "no sound in it, only pictures or data"
    # "[mp3float @ 0x5637] [error] Header missing"
    errors = re.findall(r"^(?:\[[^\]]*\] )?\[(?:error|fatal|panic)\] (.*)$", said, re.MULTILINE)
    if code and not errors:
        errors = said.split("\n")[-2:]
    lines = dict.fromkeys(line.strip(" :") for line in errors if line.strip(" :"))
    return "; ".join(list(lines)[:3])[:300] or (f"code {code}" if code else "")
