"""MPEG audio frame by frame: how many there really are, where damage is, and the stretches that one decoder can read.

The length that an mp3 declares is a guess (from its bit rate) or a field that somebody else wrote (Xing, Info). A walk
from frame header to frame header (ISO/IEC 11172-3, 13818-3) needs neither: it counts what is there, finds where a stream
with another rate or number of channels begins, and sees what lies between frames. Decoders are then given only whole
frames, under a header with their true number.
"""

import bisect
import mmap
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from orpheus.data.audio import splice

SUFFIXES = frozenset({".mp2", ".mp3"})

_KBIT_S = {  # by (is version 1, layer), ISO/IEC 11172-3 table in 2.4.2.3 and 13818-3 2.4.2.3
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_HERTZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # by version bits
_DECODER_DELAY = 529  # samples, of layer III
_LYRICS_BYTES = 1 << 14  # a tag of lyrics is not longer, or is taken for damage
_SAME_STREAM = 0xFFFE0C00  # of a header's 32 bits: sync, version, layer, sample rate


def _frame_lengths() -> dict[int, int]:
    """Bytes of a frame, by the upper 23 bits of its header (sync to padding); only valid ones are in it."""
    lengths = {}
    for version, rates in _HERTZ.items():
        for layer in (1, 2, 3):
            for rate_index, rate in enumerate(rates):
                for bits_index, kbit in enumerate(_KBIT_S[version == 3, layer], 1):
                    for padding in (0, 1):
                        if layer == 1:
                            length = (12000 * kbit // rate + padding) * 4
                        else:
                            length = _samples(version, layer) // 8 * 1000 * kbit // rate + padding
                        for unprotected in (0, 1):
                            second = 0xE0 | version << 3 | (4 - layer) << 1 | unprotected
                            lengths[0xFF << 15 | second << 7 | bits_index << 3 | rate_index << 1 | padding] = length
    return lengths


def _samples(version: int, layer: int) -> int:
    return 384 if layer == 1 else 576 if layer == 3 and version != 3 else 1152


_LENGTHS = _frame_lengths()


@dataclass
class Stream:
    """Frames that one decoder reads: of one sample rate and number of channels.

    Attributes:
        sample_rate: Hz.
        channels: 1 or 2.
        frame_samples: Samples per channel in a frame.
        pieces: Byte ranges of whole frames, the header frame not among them.
        frames: How many there are.
        info: Byte range of the header frame (Xing, Info) if there is one.
        declared: Its number of frames; 0 where it does not say.
        declared_bytes: Of the header frame and all others, as it says; as above.
        gaps: (frame before which it is, bytes) of what lay between frames and was no tag.
    """

    sample_rate: int
    channels: int
    frame_samples: int
    pieces: list[tuple[int, int]] = field(default_factory=list)
    frames: int = 0
    info: tuple[int, int] | None = None
    declared: int = 0
    declared_bytes: int = 0
    gaps: list[tuple[int, int]] = field(default_factory=list)

    @property
    def samples(self) -> int:
        return self.frames * self.frame_samples

    @property
    def seconds(self) -> float:
        return self.samples / self.sample_rate

    def lost(self) -> list[tuple[float, float]]:
        """(seconds into the stream, seconds missing there), by the gaps' bytes and the frames that were declared."""
        size = sum(stop - start for start, stop in self.pieces) / max(1, self.frames)
        lost = [(frame, float(round(length / size))) for frame, length in self.gaps]
        missing, guessed = self.declared - self.frames, sum(count for _, count in lost)
        present = size * (self.frames + 2) + (self.info[1] - self.info[0] if self.info else 0)
        if self.declared_bytes and not lost and self.declared_bytes <= present:
            missing = 0  # all bytes are there: the number of frames is wrong
        if guessed and self.declared and guessed > missing:
            lost = [(frame, count * max(0, missing) / guessed) for frame, count in lost]
        elif missing - guessed > 2:  # encoders disagree about the first and the last frame
            lost.append((self.frames, missing - guessed))
        second = self.frame_samples / self.sample_rate
        return [(frame * second, count * second) for frame, count in lost]


def walk(data: mmap.mmap | bytes) -> list[Stream]:
    """The streams of a file, in order; none where it holds no three MPEG frames in a row.

    Example:
        >>> frame = bytes([0xFF, 0xFB, 0x90, 0xC0]) + bytes(413)  # MPEG-1 layer III, 128 kbit/s, 44.1 kHz, mono
        >>> (stream,) = walk(frame * 5 + b"noise" * 200 + frame * 5)
        >>> stream.frames, stream.channels, stream.gaps
        (10, 1, [(5, 1000)])
    """
    start = _next_frame(data, 0, -1)
    if start < 0:
        return []
    infos = _info_frames(data, start, start + 64)
    streams = _walk(data, start, infos)
    if len(streams) > 1 or not streams or streams[0].declared != streams[0].frames:
        # Not one whole stream under a true header: another one may begin in the middle, with a header frame of its own.
        all_infos = _info_frames(data, 0, len(data))
        if all_infos != infos:
            return _walk(data, start, all_infos)
    return streams


def _walk(data: mmap.mmap | bytes, start: int, infos: dict[int, tuple[int, int]]) -> list[Stream]:
    size, position, end = len(data), 0, 0  # end: of what is accounted for
    unpack, lengths, order = struct.Struct(">I").unpack_from, _LENGTHS, sorted(infos)
    streams: list[Stream] = []
    same: dict[
        bytes, int
    ] = {}  # header → bytes of its frame, of the stream at hand, whose frames are counted here, for speed
    key, pieces, frames = -1, [], 0
    while start >= 0:
        head = unpack(data, start)[0]
        gap = _untagged(data, end, start)
        if not streams or _key(head) != key or start in infos:
            if streams:
                streams[-1].frames = frames
            streams.append(_stream(head))
            key, pieces, frames, same = _key(head), streams[-1].pieces, 0, {}
        if gap >= lengths[head >> 9] // 2:
            streams[-1].gaps.append((frames, gap))
        position = start
        if position in infos:
            position += lengths[head >> 9]
            streams[-1].info = (start, position)
            streams[-1].declared, streams[-1].declared_bytes = infos[start]
        following = bisect.bisect_right(order, position)
        begin, sure = position, order[following] if following < len(order) else size
        length = 0
        while position < sure:
            length = same.get(data[position : position + 4], 0)
            if not length:
                head = unpack(data, position)[0] if position <= size - 4 else 0
                length = lengths.get(head >> 9, 0) if _key(head) == key else 0
                if not length:
                    break
                same[data[position : position + 4]] = length  # the same four bytes come again and again
            position += length
            frames += 1
        if position > size:  # the last frame is not whole
            position, frames = position - length, frames - 1
        if position > begin:
            pieces.append((begin, position))
        end = position
        start = _next_frame(data, position, key)
    if streams:
        streams[-1].frames = frames
        rest = _untagged(data, end, size)
        if rest > sum(stop - start for start, stop in pieces) // max(1, frames):
            streams[-1].gaps.append((frames, rest))
    return [stream for stream in streams if stream.frames]


def _key(head: int) -> int:
    """What frames of one stream have in common; the lowest bit says mono."""
    return head & _SAME_STREAM | (head & 0xC0 == 0xC0)


def _stream(head: int) -> Stream:
    version, layer = head >> 19 & 3, 4 - (head >> 17 & 3)
    return Stream(_HERTZ[version][head >> 10 & 3], 1 if head & 0xC0 == 0xC0 else 2, _samples(version, layer))


def _next_frame(data: mmap.mmap | bytes, position: int, key: int) -> int:
    """Where the next frame begins that others follow, or -1; what tags hold is not searched."""
    size = len(data)
    while 0 <= position <= size - 4:
        if after := _tag_end(data, position):
            position = after
        elif _is_frame(data, position, key):
            return position
        else:
            # A tag is looked for wherever one may begin, and so is a frame.
            found = _BEGINNING.search(data, position + 1)
            position = found.start() if found else -1
    return -1


_BEGINNING = re.compile(rb"\xff[\xe0-\xff]|ID3[\x02-\x04]|TAG|APETAGEX|LYRICSBEGIN", re.DOTALL)


def _is_frame(data: mmap.mmap | bytes, position: int, key: int) -> bool:
    """Whether a frame begins here: one of the stream at hand with a second one behind it, or the first of three."""
    size, first, wanted = len(data), None, 3
    for count in range(3):
        if position == size and count:
            return True
        if position > size - 4:
            return False
        head = struct.unpack_from(">I", data, position)[0]
        length = _LENGTHS.get(head >> 9)
        if length is None or (first is not None and _key(head) != first):
            return bool(count) and _tag_end(data, position) > 0
        first = _key(head)
        wanted = 2 if first == key else 3
        if count + 1 == wanted:
            return True
        position += length
    return True


def _tag_end(data: mmap.mmap | bytes, position: int) -> int:
    """Where a tag that begins here ends; 0 where none does, or none that ends within the file."""
    head = data[position : position + 32]
    end = 0
    if head[:3] == b"ID3" and len(head) >= 10 and max(head[6:10]) < 128:
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        end = position + 10 + size + (10 if head[5] & 0x10 else 0)
    elif head[:3] == b"TAG":
        end = position + (227 if head[3:4] == b"+" else 128)
    elif head[:8] == b"APETAGEX" and len(head) == 32:
        size, is_header = struct.unpack_from("<I", head, 12)[0], head[23] & 0x20
        end = position + 32 + (size if is_header else 0)
    elif head[:11] == b"LYRICSBEGIN":
        last = data[position : position + _LYRICS_BYTES].find(b"LYRICS200")
        end = position + last + 9 if last >= 0 else 0
    return end if end <= len(data) else 0


def _untagged(data: mmap.mmap | bytes, start: int, stop: int) -> int:
    """Bytes between frames that are no tag; zeros before the first frame and after the last are none either."""
    if start == 0 or stop == len(data):
        rest = bytes(data[start:stop]).strip(b"\0")
        if not rest:
            return 0
    length = stop - start
    while start < stop:
        if after := _tag_end(data, start):
            length -= min(after, stop) - start
            start = after
            continue
        found = _BEGINNING.search(data, start + 1, stop)
        start = found.start() if found else stop
    return length


def _info_frames(data: mmap.mmap | bytes, begin: int, end: int) -> dict[int, tuple[int, int]]:
    """Position of each header frame (Xing, Info of LAME; VBRI) → the numbers of frames and bytes it declares, 0 for none."""
    found = {}
    for name in (b"Xing", b"Info", b"VBRI"):
        for place in _places(data, name, begin, end):
            for offset in (36,) if name == b"VBRI" else (36, 21, 13):  # 4, and the side information
                start = place - offset
                head = struct.unpack_from(">I", data, start)[0] if start >= 0 else 0
                if head >> 9 in _LENGTHS and head >> 17 & 3 == 1 and len(data) >= place + 18:
                    if name == b"VBRI":
                        found[start] = struct.unpack_from(">2I", data, place + 10)[::-1]
                    else:
                        flags, count, size = struct.unpack_from(">3I", data, place + 4)
                        found[start] = (count if flags & 1 else 0, size if flags & 3 == 3 else 0)
                    break
    return found


def _places(data: mmap.mmap | bytes, name: bytes, begin: int, end: int) -> Iterator[int]:
    """Where a name of four bytes is; a piece at a time, since bytes are searched much faster than an mmap."""
    step = 1 << 16
    for start in range(begin, end, step):
        piece = data[start : min(start + step + 3, end)]
        place = piece.find(name)
        while place >= 0:
            yield start + place
            place = piece.find(name, place + 4)


def repaired(data: mmap.mmap | bytes, stream: Stream) -> tuple[splice.Spliced, int]:
    """A file of one stream's whole frames only, under a header frame with their true number.

    Returns:
        The file, and how many samples per channel to drop at its beginning.
    """
    size = sum(stop - start for start, stop in stream.pieces)
    header, surplus = _header(data, stream, size)
    return splice.Spliced(data, [header, *stream.pieces]), surplus


def _header(data: mmap.mmap | bytes, stream: Stream, size: int) -> tuple[bytes, int]:
    """The stream's header frame with the true numbers of frames and bytes, or a new one; none for layers I and II."""
    head = struct.unpack_from(">I", data, stream.pieces[0][0])[0]
    if head >> 17 & 3 != 1:
        return b"", 0
    side = 4 + ((17, 32) if head >> 19 & 3 == 3 else (9, 17))[stream.channels - 1]
    frame = bytearray(data[slice(*stream.info)] if stream.info else b"")
    if frame[side : side + 4] in (b"Xing", b"Info") and frame[side + 7] & 1:
        struct.pack_into(">I", frame, side + 8, stream.frames)
        if frame[side + 7] & 2:
            struct.pack_into(">I", frame, side + 12, size + len(frame))
        return bytes(frame), 0
    # libmpg123 takes such a header for one of LAME's and cuts its decoder's delay off, which nobody added: a frame of
    # silence goes before the others, and the rest of it is dropped.
    head |= 0x10000  # no checksum
    lengths = (_LENGTHS[(head & ~0xF200 | bits << 12) >> 9] for bits in range(1, 15))
    bits, length = next((bits, length) for bits, length in enumerate(lengths, 1) if length >= side + 16)
    frame = bytearray(2 * length)
    for start in (0, length):
        struct.pack_into(">I", frame, start, head & ~0xF200 | bits << 12)
    struct.pack_into(">4s2I", frame, side, b"Xing", 1, stream.frames + 1)
    return bytes(frame), stream.frame_samples - _DECODER_DELAY
