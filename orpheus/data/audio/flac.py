"""FLAC frame by frame (RFC 9639): the true number of samples, and where decoding can go on behind damage.

STREAMINFO may say 0 samples (unknown, as a stream's encoder writes) or lie; each frame's header says which samples it
holds, under a checksum of its own.
"""

import mmap
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from orpheus.data.audio import splice

_SYNC = re.compile(rb"\xff[\xf8\xf9]", re.DOTALL)
_BLOCK_SIZES = {1: 192, **{2 + n: 576 << n for n in range(4)}, **{8 + n: 256 << n for n in range(8)}}


class Frame(NamedTuple):
    """A frame of the file: where it begins, its first sample, and how many samples per channel it has."""

    position: int
    first: int
    samples: int


@dataclass(frozen=True)
class Stream:
    """What STREAMINFO says, and where the frames are.

    Attributes:
        info: STREAMINFO's 34 bytes.
        sample_rate: Hz.
        channels: 1 to 8.
        declared: Samples per channel, 0 for unknown.
        begin: Where the first frame begins.
        end: Where the last one ends; tags that are no part of FLAC may follow.
    """

    info: bytes
    sample_rate: int
    channels: int
    declared: int
    begin: int
    end: int


def _checksums() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte << 1 ^ 0x07) & 0xFF if byte & 0x80 else byte << 1
        table.append(byte)
    return table


_CRC8 = _checksums()


def stream(data: splice.OnDisk | mmap.mmap | bytes) -> Stream | None:
    """The stream of a file that begins as FLAC does, perhaps behind an ID3v2 tag; None of any other."""
    start = 0
    if data[:3] == b"ID3":
        size = data[6:10]
        start = 10 + (size[0] << 21 | size[1] << 14 | size[2] << 7 | size[3]) if len(size) == 4 else 0
    if data[start : start + 4] != b"fLaC":
        return None
    position, info, is_last = start + 4, b"", False
    while not is_last and position + 4 <= len(data):
        head = int.from_bytes(data[position : position + 4], "big")
        is_last, kind, length = bool(head >> 31), head >> 24 & 0x7F, head & 0xFFFFFF
        if kind == 0:
            info = bytes(data[position + 4 : position + 4 + length])
        position += 4 + length
    if len(info) != 34 or position > len(data):
        return None
    packed = int.from_bytes(info[10:18], "big")
    end = len(data) - (128 if data[-128:][:3] == b"TAG" else 0)
    rate, channels = packed >> 44, (packed >> 41 & 7) + 1
    return Stream(info, rate, channels, packed & (1 << 36) - 1, position, end) if rate else None


def samples(data: splice.OnDisk | mmap.mmap | bytes, stream: Stream) -> int:
    """Where the last frame of the file ends, in samples; 0 if there is none."""
    stop = stream.end
    while stop > stream.begin:
        stop = max(data.rfind(b"\xff\xf8", stream.begin, stop), data.rfind(b"\xff\xf9", stream.begin, stop))
        if frame := _frame(data, stop, stream):
            return frame.first + frame.samples
    return 0


def another(data: mmap.mmap | bytes, stream: Stream) -> bool:
    """Whether a second file, with a STREAMINFO of its own, begins behind the first frame."""
    return any(data.find(b"fLaC" + kind + b"\0\0\x22", stream.begin) >= 0 for kind in (b"\0", b"\x80"))


def frames(data: mmap.mmap | bytes, stream: Stream, position: int) -> Iterator[Frame]:
    """Frames from a byte on."""
    for found in _SYNC.finditer(data, max(position, stream.begin), stream.end):
        if frame := _frame(data, found.start(), stream):
            yield frame


def _frame(data: splice.OnDisk | mmap.mmap | bytes, position: int, stream: Stream) -> Frame | None:
    """The frame whose header begins here, if its checksum says so and it fits STREAMINFO."""
    head = bytes(data[position : position + 16])
    if position < stream.begin or len(head) < 6 or head[0] != 0xFF or head[1] & 0xFE != 0xF8 or head[3] & 1:
        return None
    size_code, rate_code, channel_code = head[2] >> 4, head[2] & 15, head[3] >> 4
    if not size_code or rate_code == 15 or channel_code > 10:
        return None
    if (channel_code + 1 if channel_code < 8 else 2) != stream.channels:
        return None
    ones = 8 - (head[4] ^ 0xFF).bit_length()  # a number as in UTF-8: so many bytes, if not one
    extra, number = max(0, ones - 1), head[4] & 0x7F >> ones
    if ones in (1, 8):
        return None
    at = 5 + extra
    for byte in head[5:at]:
        number = number << 6 | byte & 0x3F
    count = _BLOCK_SIZES.get(size_code, 0)
    if size_code in (6, 7):
        count, at = int.from_bytes(head[at : at + size_code - 5], "big") + 1, at + size_code - 5
    at += {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    checksum = 0
    for byte in head[:at]:
        checksum = _CRC8[checksum ^ byte]
    if at >= len(head) or checksum != head[at]:
        return None
    fixed = int.from_bytes(stream.info[2:4], "big")
    return Frame(position, number if head[1] & 1 else number * fixed, count)


def repaired(data: mmap.mmap | bytes, stream: Stream, position: int, samples: int) -> splice.Spliced:
    """A file of the frames from a byte on, that declares so many samples and no checksum of the whole."""
    packed = int.from_bytes(stream.info[10:18], "big") >> 36 << 36 | samples
    info = stream.info[:10] + packed.to_bytes(8, "big") + bytes(16)
    return splice.Spliced(data, [b"fLaC" + struct.pack(">I", 1 << 31 | len(info)) + info, (position, stream.end)])
