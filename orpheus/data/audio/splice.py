"""A file put together from parts of another one, for decoders that read files."""

import bisect
import io
import itertools
import mmap
import os
from collections.abc import Sequence
from typing import IO


class OnDisk:
    """A file's bytes, read where they are asked for: length, slices and `rfind` as of bytes.

    Args:
        file: Open for reading as long as this is used. If it is truncated meanwhile, slices are short.

    Example:
        >>> with open(__file__, "rb") as file:
        ...     data = OnDisk(file)
        ...     data[3:8], data.rfind(b"never" + b" there", 0, len(data))
        (b'A fil', -1)
    """

    _STEP = 1 << 16

    def __init__(self, file: IO[bytes]):
        self._descriptor = file.fileno()
        self._size = os.fstat(self._descriptor).st_size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, where: slice) -> bytes:
        start, stop, _ = where.indices(self._size)
        return os.pread(self._descriptor, max(0, stop - start), start)

    def rfind(self, what: bytes, start: int, stop: int) -> int:
        """As of bytes, for positions within the file."""
        while stop - start >= len(what):
            begin = max(start, stop - self._STEP)
            place = self[begin:stop].rfind(what)
            if place >= 0:
                return begin + place
            stop = begin + len(what) - 1 if begin > start else start
        return -1


class Spliced(io.RawIOBase):
    """Parts one after the other, without a copy of them.

    Args:
        data: What byte ranges are of.
        parts: (start, stop) byte ranges, or bytes as they are.

    Example:
        >>> Spliced(b"abcdef", [b"<", (1, 3), (4, 6)]).read()
        b'<bcef'
    """

    def __init__(self, data: mmap.mmap | bytes, parts: Sequence[tuple[int, int] | bytes]):
        view = memoryview(data)
        self._parts = [memoryview(part) if isinstance(part, bytes) else view[slice(*part)] for part in parts]
        view.release()
        self._starts = [0, *itertools.accumulate(map(len, self._parts))]
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = max(0, offset + (0, self._position, self._starts[-1])[whence])
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer) -> int:
        done, index = 0, bisect.bisect_right(self._starts, self._position) - 1
        while done < len(buffer) and index < len(self._parts):
            begin = self._position - self._starts[index]
            part = self._parts[index][begin : begin + len(buffer) - done]
            buffer[done : done + len(part)] = part
            done, index, self._position = done + len(part), index + 1, self._position + len(part)
        return done

    def close(self) -> None:
        for part in self._parts:
            part.release()
        super().close()
