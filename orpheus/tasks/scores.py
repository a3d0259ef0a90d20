"""What a run says of each track of one split, as evaluations leave it for reports. Loads no TensorFlow.

Taggers, retrieval and joint runs keep it alike, so that a report can compare runs on the same tracks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

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
        scores: (tracks, classes) float32: a tagger's probabilities, means over windows; retrieval's similarities.
        unit: ``"artist"``, ``"track"`` or ``"song"``: what `groups` are.
        probabilities: (tracks, classes) float32 where a run has some besides its scores; else None.
    """

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    classes: tuple[str, ...]
    truth: np.ndarray
    scores: np.ndarray
    unit: str
    probabilities: np.ndarray | None = None

    def keep(self, kept: np.ndarray) -> "Scores":
        """Only the tracks where `kept` (tracks,) bool is true."""
        return self.rows(np.flatnonzero(kept))

    def rows(self, numbers: Sequence[int] | np.ndarray) -> "Scores":
        """These tracks in this order, by number."""
        ids, groups = (tuple(names[row] for row in numbers) for names in (self.ids, self.groups))
        more = None if self.probabilities is None else self.probabilities[numbers]
        truth, scores = self.truth[numbers], self.scores[numbers]
        return replace(self, ids=ids, groups=groups, truth=truth, scores=scores, probabilities=more)

    def columns(self, numbers: Sequence[int]) -> "Scores":
        """These classes in this order, by number."""
        classes = tuple(self.classes[column] for column in numbers)
        more = None if self.probabilities is None else self.probabilities[:, numbers]
        truth, scores = self.truth[:, numbers], self.scores[:, numbers]
        return replace(self, classes=classes, truth=truth, scores=scores, probabilities=more)

    def save(self, run: Run, split: str) -> None:
        """Write RUN/scores_SPLIT.npz, from which reports are made."""
        names = {key: np.array(getattr(self, key)) for key in ("ids", "groups", "classes", "unit")}
        with files.atomic(run.folder / f"scores_{split}.npz", "wb") as file:
            more = {} if self.probabilities is None else {"probabilities": self.probabilities}
            np.savez_compressed(file, **names, truth=np.packbits(self.truth, axis=1), scores=self.scores, **more)

    @classmethod
    def load(cls, run: Run, split: str) -> "Scores | None":
        """What `save` wrote; None where it did not."""
        path = run.folder / f"scores_{split}.npz"
        if not path.is_file():
            return None
        stored = arrays.load_npz(path, ("ids", "groups", "classes", "truth", "scores", "unit"))
        ids, groups, classes = (tuple(map(str, stored[key].ravel())) for key in ("ids", "groups", "classes"))
        packed, scores, probabilities = stored["truth"], stored["scores"], stored.get("probabilities")
        shape = (len(ids), len(classes))
        for values in (scores,) if probabilities is None else (scores, probabilities):
            if values.shape != shape or values.dtype.kind != "f" or len(groups) != len(ids):
                raise DataError(
                    f"{path}: scores of shape {values.shape} for {shape[0]} tracks and {shape[1]} classes; evaluate again"
                )
        if packed.dtype != np.uint8 or packed.shape != (len(ids), -(-len(classes) // 8)):
            raise DataError(f"{path}: truth is {packed.dtype} of shape {packed.shape}; evaluate again")
        truth = np.unpackbits(packed, axis=1, count=len(classes)).astype(bool)
        return cls(ids, groups, classes, truth, scores, str(stored["unit"]), probabilities)
