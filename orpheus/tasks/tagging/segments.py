"""Tags with times and confidences: where in a file each tag is heard, as JSON, csv or JAMS."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from orpheus.base import csv_files, files
from orpheus.tasks.tagging.tagger import Prediction

SUFFIXES = (".json", ".csv", ".jams")
_JAMS_VERSION = "0.3.4"  # whose layout is written


class Segment(NamedTuple):
    """A stretch of a file in which a tag is heard.

    Attributes:
        start: Seconds, of its first window's beginning.
        end: Seconds, of its last window's end.
        tag: Name of the class.
        confidence: Mean score of its windows, 0 to 1.
    """

    start: float
    end: float
    tag: str
    confidence: float


def find(prediction: Prediction, threshold: float) -> list[Segment]:
    """Stretches of consecutive windows whose score is at least a threshold, by start, then in the order of the classes.

    Times are those of windows: segments of one tag overlap where windows do, and what is shorter than a window ends with it,
    behind its own end.

    Args:
        prediction: Of a file.
        threshold: 0 to 1.

    Example:
        >>> scores = np.array([[0.9, 0.2], [0.7, 0.1], [0.1, 0.8]])
        >>> for segment in find(Prediction(("loud", "sad"), np.array([0.0, 3.0, 6.0]), 3.0, scores), 0.5):
        ...     print(*segment)
        0.0 6.0 loud 0.8
        6.0 9.0 sad 0.8
    """
    found = []
    for column, tag in enumerate(prediction.classes):
        scores = prediction.scores[:, column]
        edges = np.flatnonzero(np.diff(scores >= threshold, prepend=False, append=False))
        for first, stop in zip(edges[::2], edges[1::2], strict=True):
            end = float(prediction.starts[stop - 1]) + prediction.window_seconds
            confidence = round(float(scores[first:stop].mean(dtype=np.float64)), 6)
            found.append(Segment(round(float(prediction.starts[first]), 6), round(end, 6), tag, confidence))
    return sorted(found, key=lambda segment: segment.start)  # stable: classes keep their order


def write_json(
    path: Path, predictions: Mapping[str, Prediction], failures: Mapping[str, str], threshold: float
) -> None:
    """Write the segments of files, and why others have none, by name."""
    content: dict[str, Any] = {
        name: {
            "threshold": threshold,
            "window_seconds": one.window_seconds,
            "segments": [segment._asdict() for segment in find(one, threshold)],
        }
        for name, one in predictions.items()
    }
    files.write_json(path, content | {name: {"error": reason} for name, reason in failures.items()})


def write_csv(path: Path, predictions: Mapping[str, Prediction], threshold: float) -> None:
    """Write a row per segment: file, start, end, tag, confidence."""
    with files.atomic(path) as file:
        csv_files.write(file, [["file", *Segment._fields]])
        for name, one in predictions.items():
            csv_files.write(file, ([name, *segment] for segment in find(one, threshold)))


def write_jams(path: Path, prediction: Prediction, title: str, threshold: float) -> None:
    """Write one file's segments as JAMS (Humphrey et al., "JAMS: a JSON annotated music specification", ISMIR 2014)."""
    end = round(float(prediction.starts.max()) + prediction.window_seconds, 6)
    observations = [
        {"time": one.start, "duration": round(one.end - one.start, 6), "value": one.tag, "confidence": one.confidence}
        for one in find(prediction, threshold)
    ]
    annotation = {
        "annotation_metadata": {
            "curator": {"name": "", "email": ""},
            "annotator": {},
            "version": "",
            "corpus": "",
            "annotation_tools": "orpheus.predict",
            "annotation_rules": f"windows of {prediction.window_seconds:g} s, scores of at least {threshold:g}",
            "validation": "",
            "data_source": "program",
        },
        "namespace": "tag_open",
        "data": observations,
        "sandbox": {},
        "time": 0.0,
        "duration": end,
    }
    metadata = {
        "title": title,
        "artist": "",
        "release": "",
        "duration": end,
        "identifiers": {},
        "jams_version": _JAMS_VERSION,
    }
    files.write_json(path, {"annotations": [annotation], "file_metadata": metadata, "sandbox": {}})
