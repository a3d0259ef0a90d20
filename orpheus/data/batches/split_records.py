"""The records of one split: their shards and the tracks of each."""

from dataclasses import dataclass

import numpy as np

from orpheus.data.records import damage
from orpheus.data.records.format import Catalogue
from orpheus.data.tags.targets import TagTargets


@dataclass(frozen=True)
class SplitRecords:
    """One split: shards of a catalogue, the classes, and which of the records have any of them."""

    catalogue: Catalogue
    shards: tuple[str, ...]
    targets: TagTargets
    database: int = 0

    def __post_init__(self):
        damage.watch(self.catalogue)

    def kept(self) -> list[list[bool]]:
        """Per shard and record: whether the track has a tag of any class."""
        return [
            [self.targets.any(row.tags[self.database]) for row in self.catalogue.shards[shard]] for shard in self.shards
        ]

    def rows(self) -> list:
        """Rows of the records that are kept, in the order of `validation` and `all_windows`."""
        return [row for row in self.catalogue.rows(self.shards) if self.targets.any(row.tags[self.database])]

    def truth(self) -> np.ndarray:
        """(tracks, classes) float32 of `rows`."""
        return self.targets.matrix([row.tags[self.database] for row in self.rows()])
