"""Who decodes which audio file: libsndfile what it knows, ffmpeg (where it is installed) the rest."""

import contextlib
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from typing import IO

import numpy as np

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


def refusal(error: Exception) -> str:
    """Why libsndfile could not open or read a file, from soundfile's exception."""
    if isinstance(error, TypeError):  # soundfile asks for rate and channels of a file named .raw
        return "raw samples without a header"
    reason = str(getattr(error, "error_string", error)).removeprefix("Error : ").rstrip(".")
    # libsndfile's word for content that no decoder recognised:
    return "format not recognised" if "not a regular file" in reason else reason


@contextlib.contextmanager
def ffmpeg(path: str | os.PathLike, refused: str) -> Iterator[tuple[IO[bytes], int, int]]:
    """Decode a file with ffmpeg, at its own rate and with all its channels.

    Args:
        path: The file.
        refused: Why libsndfile did not take it; part of the message.

    Yields:
        (stream for `frames`, to be read to its end, sample rate, channels).

    Raises:
        DataError: ffmpeg is not installed or cannot decode the file. The message names no path.
    """
    if shutil.which("ffmpeg") is None:
        raise DataError(f"not decodable ({refused}; ffmpeg, which may know the format, is not installed)")
    # An absolute path, since ffmpeg takes "a:b.m4a" for a protocol. AU can be read from a pipe, and its header gives
    # rate and channels. Messages go to a file: a pipe that nobody reads would fill up and stop ffmpeg.
    source = ["ffmpeg", "-nostdin", "-v", "error", "-i", os.path.abspath(path)]
    command = [*source, "-map", "0:a:0", "-c:a", "pcm_f32be", "-f", "au", "-"]
    with tempfile.TemporaryFile() as messages:
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
                    yield stream, sample_rate, channels
            finally:
                stream.close()
                process.wait()
        if process.returncode or len(header) < 24:
            messages.seek(0)
            said = messages.read()[-2000:].decode("utf-8", "replace").replace(source[-1], "").split("\n")
            last = next((line.strip(" :") for line in reversed(said) if line.strip(" :")), f"code {process.returncode}")
            raise DataError(f"not decodable ({refused}; ffmpeg: {last})")


def frames(stream: IO[bytes], channels: int, *, count: int) -> Iterator[np.ndarray]:
    """(count, channels) float32 blocks of `ffmpeg`'s stream, the last one shorter."""
    while data := stream.read(count * channels * 4):
        samples = np.frombuffer(data[: len(data) // (4 * channels) * 4 * channels], ">f4").astype(np.float32)
        yield samples.reshape(-1, channels)
