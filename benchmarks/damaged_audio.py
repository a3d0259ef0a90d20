"""Seconds decoded of audio files with odd headers and damage: ours, ffmpeg's and libsndfile's alone, beside what is right.

The files are synthesised and damaged on purpose, so that what is right is known. Without ffmpeg those that only it can
make or read are left out.
"""

import argparse
import math
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from orpheus.base import cli, parallel

SECONDS, RATE, SEED = 12.0, 44100, 0
MPEG_FRAME = 1152


class Case(NamedTuple):
    """A file, and what decoding it must give.

    Attributes:
        path: Its suffix is the format.
        what: What is odd about it.
        seconds: Right ones; NaN where it must be refused.
        lost: Seconds that are gone for good; NaN if nobody can know.
        at: Decoded seconds before the loss; NaN if nothing is lost.
        tolerance: Of all three, seconds.
    """

    path: Path
    what: str
    seconds: float
    lost: float = 0.0
    at: float = math.nan
    tolerance: float = MPEG_FRAME / RATE


def make(folder: Path) -> list[Case]:
    """Write the files; the same ones each time, but for those that ffmpeg encodes."""
    return [*_mpeg(folder), *_flac(folder), *_wav(folder), *_ogg(folder), *_by_ffmpeg(folder)]


def music(seconds: float = SECONDS, rate: int = RATE) -> np.ndarray:
    """Noise below 3 kHz that swells: every frame of it differs from the others, and variable bit rates vary."""
    rng = np.random.default_rng(SEED)
    count = round(seconds * rate)
    spectrum = np.fft.rfft(rng.normal(size=count))
    spectrum[int(3000 * seconds) :] = 0
    samples = np.fft.irfft(spectrum, count) * (1.2 + np.sin(np.arange(count) / rate * 3))
    return (0.3 * samples / np.abs(samples).max()).astype(np.float32)


def _write(path: Path, samples: np.ndarray, rate: int = RATE, **options) -> bytes:
    import soundfile

    soundfile.write(path, samples, rate, **options)
    return path.read_bytes()


def _info(content: bytes) -> tuple[int, int, int, int]:
    """Of an mp3: where its header frame begins and ends, where its count of frames is, and that count."""
    from orpheus.data.audio import mpeg

    (stream,) = mpeg.walk(content)
    assert stream.info is not None  # LAME writes one
    place = max(content.find(name, *stream.info) for name in (b"Xing", b"Info")) + 8
    return *stream.info, place, struct.unpack_from(">I", content, place)[0]


def _mpeg(folder: Path) -> Iterator[Case]:
    samples = music()

    def case(name: str, content: bytes, what: str, seconds: float, *more: float) -> Case:
        (folder / f"{name}.mp3").write_bytes(content)
        return Case(folder / f"{name}.mp3", what, seconds, *more)

    vbr = _write(folder / "vbr.mp3", samples, bitrate_mode="VARIABLE", compression_level=0.5)
    cbr = _write(folder / "cbr.mp3", samples, bitrate_mode="CONSTANT", compression_level=0.5)
    half = _write(folder / "half-rate.mp3", music(6.0, 22050), 22050)
    stereo = _write(folder / "stereo.mp3", np.stack([samples, samples[::-1]], axis=1)[: 6 * RATE])
    begin, end, place, frames = _info(vbr)
    raw = frames * MPEG_FRAME / RATE  # with what the encoder adds, which no header tells without that frame
    yield Case(folder / "vbr.mp3", "nothing, variable bit rate", SECONDS)
    yield Case(folder / "cbr.mp3", "nothing, constant bit rate", SECONDS)
    yield case("no-header", vbr[:begin] + vbr[end:], "VBR without a Xing header", raw)
    for count, what in ((0, "0"), (20, "too small"), (100000, "too large")):
        changed = vbr[:place] + struct.pack(">I", count) + vbr[place + 4 :]
        yield case(f"xing-{count}", changed, f"Xing count {what}", SECONDS)
    yield case("joined", vbr + cbr, "two files joined", 2 * SECONDS)
    tagged = vbr + b"TAG" + bytes(125) + b"ID3\x04\0\0\0\0\x10\0" + bytes(2048) + cbr
    yield case("joined-tags", tagged, "two files joined, tags between them", 2 * SECONDS)
    yield case("rates", vbr + half, "another sample rate half-way", SECONDS + 6)
    yield case("channels", vbr + stereo, "mono, then stereo", SECONDS + 6)
    yield case("id3", b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + vbr, "an ID3 tag that claims 256 MB", SECONDS)
    cut = len(cbr) // 2
    share = (cut - end) / (len(cbr) - end) * SECONDS
    yield case("half", cbr[:cut], "truncated in the middle", share, SECONDS - share, share, 0.06)
    lost = 3000 / (len(cbr) - end) * SECONDS
    noise = np.random.default_rng(SEED).bytes(3000)
    yield case(
        "noise", cbr[:cut] + noise + cbr[cut + 3000 :], "3 kB of noise in the middle", SECONDS - lost, lost, share, 0.06
    )
    zeroed = cbr[:cut] + bytes(3000) + cbr[cut + 3000 :]
    yield case("zeros", zeroed, "3 kB of zeros in the middle", SECONDS - lost, lost, share, 0.06)


def _flac(folder: Path) -> Iterator[Case]:
    content = _write(folder / "whole.flac", music())
    place, block = 4 + 4 + 10, 4096 / RATE  # rate, channels, bits and the number of samples are eight bytes
    packed = struct.unpack_from(">Q", content, place)[0]

    def case(name: str, content: bytes, what: str, seconds: float, *more: float) -> Case:
        (folder / f"{name}.flac").write_bytes(content)
        return Case(folder / f"{name}.flac", what, seconds, *more)

    def declaring(samples: int) -> bytes:
        return content[:place] + struct.pack(">Q", packed >> 36 << 36 | samples) + content[place + 8 :]

    exact = 1 / RATE
    yield Case(folder / "whole.flac", "nothing", SECONDS, 0.0, math.nan, exact)
    yield case("zero", declaring(0), "number of samples 0 (unknown)", SECONDS, 0.0, math.nan, exact)
    yield case("small", declaring(RATE), "number of samples too small", SECONDS, 0.0, math.nan, exact)
    yield case("id3v1", content + b"TAG" + b"x" * 125, "ID3v1 at the end", SECONDS, 0.0, math.nan, exact)
    cut = len(content) // 2
    noise = np.random.default_rng(SEED).bytes(3000)
    damaged = content[:cut] + noise + content[cut + 3000 :]
    yield case("noise", damaged, "3 kB of noise in the middle", SECONDS - block, block, SECONDS / 2, 2.5 * block)
    flipped = content[:cut] + bytes([content[cut] ^ 255]) + content[cut + 1 :]
    yield case("flipped", flipped, "one byte changed", SECONDS - block, block, SECONDS / 2, 1.5 * block)
    yield case("half", content[:cut], "truncated in the middle", SECONDS / 2, SECONDS / 2, SECONDS / 2, 3 * block)


def _wav(folder: Path) -> Iterator[Case]:
    content = _write(folder / "whole.wav", music())
    place = content.index(b"data") + 4

    def case(name: str, content: bytes, what: str, seconds: float, *more: float) -> Case:
        (folder / f"{name}.wav").write_bytes(content)
        return Case(folder / f"{name}.wav", what, seconds, *more)

    def declaring(size: int) -> bytes:
        return content[:place] + struct.pack("<I", size) + content[place + 4 :]

    if shutil.which("ffmpeg"):
        yield case("zero", declaring(0), "data size 0 (recorder died)", SECONDS)
    yield case("unknown", declaring(0xFFFFFFFF), "data size unknown (a stream)", SECONDS)
    yield case("half", content[: len(content) // 2], "truncated in the middle", 6, 6, 6)
    for name, offset, kind, value, what in (
        ("rate", 24, "<I", 0x7FFFFFFF, "2 GHz, 100 samples"),
        ("channels", 22, "<H", 0xFFFF, "65,535 channels"),
    ):
        lying = bytearray(content[: place + 4 + 200])
        struct.pack_into(kind, lying, offset, value)
        yield case(name, bytes(lying), f"header says {what}", math.nan)


def _ogg(folder: Path) -> Iterator[Case]:
    for suffix, rate, options in (("ogg", RATE, {}), ("opus", 48000, {"format": "OGG", "subtype": "OPUS"})):
        content = _write(folder / f"whole.{suffix}", music(SECONDS, rate), rate, **options)

        def case(name: str, content: bytes, what: str, seconds: float, *more: float, suffix=suffix) -> Case:
            (folder / f"{name}.{suffix}").write_bytes(content)
            return Case(folder / f"{name}.{suffix}", what, seconds, *more)

        yield Case(folder / f"whole.{suffix}", "nothing", SECONDS)
        yield case("joined", content + content, "two files joined", 2 * SECONDS)
        pages = [place for place in range(len(content)) if content.startswith(b"OggS", place)]
        ends = [struct.unpack_from("<q", content, page + 6)[0] / rate for page in pages]
        middle = len(pages) // 2
        lost, at = ends[middle] - ends[middle - 1], ends[middle - 1]
        damaged = content[: pages[middle] + 100] + b"noise" * 20 + content[pages[middle] + 200 :]
        yield case("noise", damaged, "100 bytes of noise in the middle", SECONDS - lost, lost, at, 0.1)
        half = content[: pages[middle]]
        yield case("half", half, "truncated in the middle", at, math.nan, at, 0.1)


def _by_ffmpeg(folder: Path) -> Iterator[Case]:
    """What only ffmpeg encodes."""
    if shutil.which("ffmpeg") is None:
        return
    _write(folder / "source.wav", music())

    def encode(name: str, *options: str) -> bytes:
        command = ["ffmpeg", "-y", "-v", "error", *options, str(folder / name)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        return (folder / name).read_bytes()

    source = ("-i", str(folder / "source.wav"))
    content = encode("whole.mp2", *source)
    padded = math.ceil(SECONDS * RATE / MPEG_FRAME) * MPEG_FRAME / RATE  # layer II has no field for what is added
    yield Case(folder / "whole.mp2", "nothing", padded)
    (folder / "joined.mp2").write_bytes(content + content)
    yield Case(folder / "joined.mp2", "two files joined", 2 * padded)
    content = encode("whole.m4a", *source, "-movflags", "+faststart")
    yield Case(folder / "whole.m4a", "nothing", SECONDS)
    (folder / "half.m4a").write_bytes(content[: len(content) // 2])
    yield Case(folder / "half.m4a", "truncated in the middle", 6, 6, math.nan, 0.2)
    encode("silent.mp4", "-f", "lavfi", "-i", "testsrc=duration=1:size=64x64")
    (folder / "silent.mp4").rename(folder / "video.m4a")
    yield Case(folder / "video.m4a", "a video without sound", math.nan)


def by_ffmpeg(path: Path) -> float:
    """Seconds that ffmpeg decodes; NaN if none or where it is not installed."""
    if shutil.which("ffmpeg") is None:
        return math.nan
    command = ["ffmpeg", "-v", "quiet", "-nostdin", "-i", str(path), "-ac", "1", "-ar", "16000", "-f", "s16le", "-"]
    return len(subprocess.run(command, capture_output=True).stdout) / 2 / 16000 or math.nan


def by_libsndfile(path: Path) -> float:
    """Seconds that libsndfile reads by itself, as `soundfile.read` gives them; NaN where it refuses."""
    import soundfile

    try:
        with parallel.printed_by_libraries():
            samples, rate = soundfile.read(path)
    except (soundfile.LibsndfileError, TypeError, ValueError, MemoryError):
        return math.nan
    return len(samples) / rate or math.nan


def decoded(path: Path):
    """The account of decoding a file, or why it is refused."""
    from orpheus.data.audio import reading
    from orpheus.data.audio.account import Account
    from orpheus.errors import DataError

    account = Account()
    try:
        with parallel.printed_by_libraries():
            for _ in reading.blocks(path, account):
                pass
    except DataError as error:
        return str(error).removeprefix(f"{path}: ")
    return account


def parser() -> cli.Parser:
    return cli.parser("benchmarks.damaged_audio", __doc__ or "", example="python -m benchmarks.damaged_audio")


def body(arguments: argparse.Namespace) -> int:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for case in make(Path(folder)):
            account = decoded(case.path)
            refused = isinstance(account, str)
            rows.append(
                (
                    case.path.suffix[1:],
                    case.what,
                    _seconds(case.seconds),
                    "refused" if refused else _seconds(account.seconds),
                    account if refused else str(account),
                    _seconds(by_ffmpeg(case.path)),
                    _seconds(by_libsndfile(case.path)),
                )
            )
    titles = ("format", "what is odd", "right", "orpheus", "what it reports", "ffmpeg", "libsndfile alone")
    print("| " + " | ".join(titles) + " |\n|" + "---|" * len(titles))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    return cli.EXIT_OK


def _seconds(value: float) -> str:
    return "refused" if math.isnan(value) else f"{value:.2f}"


def main(argv: list[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
