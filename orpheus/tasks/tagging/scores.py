"""Scores and annotations of the tracks of one split, as evaluations leave them for reports. Loads no TensorFlow."""

from dataclasses import dataclass

import numpy as np

from orpheus.base import arrays, files
from orpheus.errors import DataError
from orpheus.runs.folder import Run


@dataclass(frozen=True)
class Scores:
    """What a run says of the tracks of one split, beside what their annotations say.

    Attributes:
        ids: Of the tracks.
        groups: Artist of each track, or its id where there are none.
        classes: Of the columns.
        truth: (tracks, classes) bool.
        scores: (tracks, classes) float32, means over windows.
        unit: ``"artist"`` or ``"track"``: what `groups` are.
    """

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    classes: tuple[str, ...]
    truth: np.ndarray
    scores: np.ndarray
    unit: str

    def keep(self, kept: np.ndarray) -> "Scores":
        """Only the tracks where `kept` (tracks,) bool is true."""
        ids, groups = (tuple(v for v, k in zip(values, kept, strict=True) if k) for values in (self.ids, self.groups))
        return Scores(ids, groups, self.classes, self.truth[kept], self.scores[kept], self.unit)

    def save(self, run: Run, split: str) -> None:
        """Write RUN/scores_SPLIT.npz, from which reports are made."""
        names = {key: np.array(getattr(self, key)) for key in ("ids", "groups", "classes", "unit")}
        with files.atomic(run.folder / f"scores_{split}.npz", "wb") as file:
            np.savez_compressed(file, **names, truth=np.packbits(self.truth, axis=1), scores=self.scores)

    @classmethod
    def load(cls, run: Run, split: str) -> "Scores | None":
        """What `save` wrote; None where it did not."""
        path = run.folder / f"scores_{split}.npz"
        if not path.is_file():
            return None
        stored = arrays.load_npz(path, ("ids", "groups", "classes", "truth", "scores", "unit"))
        ids, groups, classes = (tuple(map(str, stored[key].ravel())) for key in ("ids", "groups", "classes"))
        packed, scores = stored["truth"], stored["scores"]
        shape = (len(ids), len(classes))
        if scores.shape != shape or scores.dtype.kind != "f" or len(groups) != len(ids):
            raise DataError(
                f"{path}: scores of shape {scores.shape} for {shape[0]} tracks and {shape[1]} classes; evaluate again"
            )
        if packed.dtype != np.uint8 or packed.shape != (len(ids), -(-len(classes) // 8)):
            raise DataError(f"{path}: truth is {packed.dtype} of shape {packed.shape}; evaluate again")
        truth = np.unpackbits(packed, axis=1, count=len(classes)).astype(bool)
        return cls(ids, groups, classes, truth, scores, str(stored["unit"]))
