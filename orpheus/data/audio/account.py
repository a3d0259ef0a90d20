"""What is decoded of a file, in blocks, and the account that is kept of it: seconds, and damage with its place."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from orpheus.errors import DataError

SAMPLE_RATES = (1000, 1_536_000)  # Hz; a header that says something else lies, and resampling would cost memory
BLOCK_SECONDS = 10
_BLOCK_VALUES = 1 << 22  # in a block at most: a header may declare a thousand channels

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
        channels: As for the rate.
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


def without(blocks: Blocks, frames: int) -> Blocks:
    """Blocks but for the first frames."""
    for block, rate in blocks:
        if frames < len(block):
            yield block[frames:], rate
        frames = max(0, frames - len(block))


def block_frames(sample_rate: int, channels: int) -> int:
    """Frames of a block: ten seconds, or fewer of very many channels."""
    return max(1, min(BLOCK_SECONDS * sample_rate, _BLOCK_VALUES // channels))
