"""ffmpeg, where it is installed: the second decoder."""

import contextlib
import os
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np

from orpheus.data.audio.account import Blocks, block_frames
from orpheus.errors import DataError


@dataclass
class Pipe:
    """What ffmpeg decodes.

    Attributes:
        stream: Big-endian 32-bit floats, channels interleaved.
        sample_rate: Hz.
        channels: How many.
        trouble: What ffmpeg complained about, when it has ended.
        seconds: The file's length as its container declares it, as for the rate; None if it does not.
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
def decoded(path: str | os.PathLike, refused: str) -> Iterator[Pipe]:
    """Decode a file with ffmpeg, at its own rate and with all its channels.

    Args:
        path: The file.
        refused: Why libsndfile did not take it; part of the message.

    Raises:
        DataError: ffmpeg is not installed, there is no sound in the file, or nothing can be decoded. The message names no
            path.
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
    if pipe is None and "matches no streams" in said:
        raise DataError("no sound in it, only pictures or data")
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
    # "[mp3float @ 0x5637] [error] Header missing"
    errors = re.findall(r"^(?:\[[^\]]*\] )?\[(?:error|fatal|panic)\] (.*)$", said, re.MULTILINE)
    if code and not errors:
        errors = said.split("\n")[-2:]
    lines = dict.fromkeys(line.strip(" :") for line in errors if line.strip(" :"))
    return "; ".join(list(lines)[:3])[:300] or (f"code {code}" if code else "")
