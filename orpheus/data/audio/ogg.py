"""Ogg page by page (RFC 3533): the streams that follow each other in a file, and the pages that are missing.

libsndfile reads the first stream of a file only, and passes over damaged pages without a word.
"""

import mmap
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

_FIRST, _LAST = 2, 4  # flags of a page
_WASTED = 16  # times its length a file is checked for pages at most
_OPUS_RATE = 48000  # Hz: positions of Opus count at it, whatever was recorded
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass
class Stream:
    """One of the streams that are chained in a file.

    Attributes:
        start: Where it begins, in bytes.
        stop: Where it ends.
        length: Its last page's position, in samples per channel.
        rate: Of such positions, Hz; 0 for the file's sample rate.
        holes: (position, number of missing pages) of what is not there.
        is_whole: The last page says that it is the last.
    """

    start: int
    stop: int = 0
    length: int = 0
    rate: int = 0
    holes: list[tuple[int, int]] = field(default_factory=list)
    is_whole: bool = False


class _Page(NamedTuple):
    start: int
    stop: int
    flags: int
    position: int
    serial: int
    number: int


def walk(data: mmap.mmap | bytes) -> list[Stream]:
    """The streams of a file in order; none where it holds no Ogg page."""
    streams: list[Stream] = []
    last: dict[int, int] = {}  # serial → number of its last page, of the stream at hand
    serial, before = -1, 0  # whose positions count: the first one's
    for page in _pages(data):
        if not streams or (page.flags & _FIRST and not before & _FIRST):
            streams.append(Stream(page.start, rate=_OPUS_RATE if b"OpusHead" in data[page.start : page.stop] else 0))
            last, serial = {}, page.serial
        stream = streams[-1]
        missing = page.number - last.get(page.serial, page.number - 1) - 1
        if missing > 0 and page.serial == serial:
            stream.holes.append((stream.length, missing))
        last[page.serial], before, stream.stop = page.number, page.flags, page.stop
        if page.serial == serial:
            stream.length = max(stream.length, page.position)
            stream.is_whole = bool(page.flags & _LAST)
    return streams


def _pages(data: mmap.mmap | bytes) -> Iterator[_Page]:
    """Pages whose checksum is right."""
    start, wasted = data.find(b"OggS"), 0
    # What only looks like a page may overlap with others that do: each would be read up to 65 kB far.
    while start >= 0 and wasted <= _WASTED * len(data):
        stop = start + 1
        if start + 27 <= len(data):
            flags, position, serial, number, checksum, segments = struct.unpack_from("<xBqIIIB", data, start + 4)
            end = start + 27 + segments
            end += sum(data[start + 27 : end])
            if end <= len(data):
                if _checksum(data[start:end]) == checksum:
                    yield _Page(start, end, flags, position, serial, number)
                    stop = end
                else:
                    wasted += end - start
        start = data.find(b"OggS", stop)


def _checksum(page: bytes) -> int:
    """Ogg's CRC-32, which has zlib's polynomial with its bits the other way round and begins at 0."""
    value = zlib.crc32((page[:22] + bytes(4) + page[26:]).translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(value.to_bytes(4, "little").translate(_MIRRORED), "big")
