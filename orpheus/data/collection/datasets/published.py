"""What was published on the splits of public data sets, and whether a run's figures compare with it.

The rule (`same_split`, `compare`): a published figure is shown beside a run's only if

1. the split is the published one. Where its lists are known, their SHA-256 is in `TABLE` and must be that of the run's
   records. Where they are not, records must be exactly those of a split made by tools.dataset (equal SHA-256), and each
   split must have the published number of tracks;
2. the classes are those of the split: all of its tags, and no other;
3. every track of the published test split was evaluated, and nothing else.

Anything else is refused, with the first rule that it breaks.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_WON = "Won et al. 2020, arXiv 2006.00751"
_FMA = "Defferrard et al. 2017, arXiv 1612.01840"
_PONS = "J. Pons, sklearn-audio-transfer-learning"


@dataclass(frozen=True)
class Figure:
    """One result of a paper.

    Attributes:
        model: As the paper calls it.
        source: The paper.
        values: ``"roc_auc"`` and ``"pr_auc"`` (macro means), or ``"accuracy"`` of the one genre; 0 to 1.
        checked: Whether it was compared with a second source when it was entered.
    """

    model: str
    source: str
    values: Mapping[str, float]
    checked: bool = False


@dataclass(frozen=True)
class Published:
    """A split and what was published on it.

    Attributes:
        tracks: Of train, valid, test.
        classes: How many.
        split: SHA-256 of the whole split (`comparability.of_split`); "" where its lists are not known here.
        class_names: SHA-256 of the sorted names of the classes as JSON; "" where not known.
        figures: Of its test split.
    """

    tracks: tuple[int, int, int]
    classes: int
    split: str = ""
    class_names: str = ""
    figures: tuple[Figure, ...] = ()


def _areas(source: str, rows: str, *, checked: Sequence[str] = ()) -> tuple[Figure, ...]:
    """Figures of lines "model ROC-AUC PR-AUC"."""
    found = []
    for row in rows.strip().splitlines():
        *words, roc, pr = row.split()
        name = " ".join(words)
        found.append(Figure(name, source, {"roc_auc": float(roc), "pr_auc": float(pr)}, name in checked))
    return tuple(found)


TABLE: dict[tuple[str, str], Published] = {
    ("mtt", "clean"): Published(
        (15244, 1529, 4332),
        50,
        figures=_areas(
            _WON,
            """
            FCN .9005 .4295
            musicnn .9106 .4493
            sample-level CNN .9058 .4422
            sample-level CNN with SE .9103 .4520
            CRNN .8722 .3625
            self-attention .9077 .4445
            Harmonic CNN .9127 .4611
            short-chunk CNN .9126 .4590
            short-chunk CNN, residual .9129 .4614
        """,
            checked=["short-chunk CNN, residual"],
        ),
    ),
    ("mtt", "all"): Published(
        (18706, 1825, 5329),
        50,
        figures=_areas(
            "Pons & Serra 2019, arXiv 1909.06654",
            "MTT_musicnn .9067 .3831\nMTT_vgg .9030 .3823",
            checked=["MTT_musicnn", "MTT_vgg"],
        ),
    ),
    ("msd", "filtered"): Published(
        (201680, 11774, 28435),
        50,
        figures=_areas(
            _WON,
            """
            FCN .8742 .2963
            musicnn .8803 .2983
            sample-level CNN .8789 .2959
            sample-level CNN with SE .8838 .3109
            CRNN .8499 .2469
            self-attention .8810 .3103
            Harmonic CNN .8898 .3298
            short-chunk CNN .8883 .3251
            short-chunk CNN, residual .8898 .3280
        """,
        ),
    ),
    ("msd", "cals"): Published((163504, 34730, 34913), 50),
    ("jamendo", "top50tags-0"): Published(
        (32136, 10888, 11356),
        50,
        split="a7f3d54317c1431438276903e1f2fd45623b2c5feb92ba348d330dfd88510a93",
        class_names="91302678d4aa837b1488af3acda9b6066cf1d4200090140197d051c97d63e3a8",
        figures=_areas(
            _WON,
            """
            FCN .8255 .2801
            musicnn .8226 .2713
            sample-level CNN .8208 .2742
            sample-level CNN with SE .8233 .2784
            CRNN .7978 .2358
            self-attention .8261 .2883
            Harmonic CNN .8322 .2956
            short-chunk CNN .8324 .2976
            short-chunk CNN, residual .8316 .2951
        """,
        ),
    ),
    ("jamendo", "genre-0"): Published(
        (32572, 11043, 11479),
        87,
        split="9cb62755ad0f6b79e464f4f597ac6ebcd4f33870e4d35c9ea723a8cda47c25df",
        class_names="bdf3e6e31812869e97e02f5d1e9927018cb80044ca1bafd0f44977df59ee122e",
    ),
    ("jamendo", "instrument-0"): Published(
        (14395, 5466, 5115),
        40,
        split="6260c9c82de5fab595d55c66f429ea1ef1c7206083d2c1006d9c97d924e3959f",
        class_names="390331430966ce6f8ba3cd733ee022219103cbd57e9d6a96d215df58e0239143",
    ),
    ("jamendo", "moodtheme-0"): Published(
        (9949, 3802, 4231),
        56,
        split="e56c4b7d1bb80a15c6cde0760ee0607e9fc733715cad05a1cb24e9ba5cc7be6f",
        class_names="09d61de35ace5dbde3913834791fad238e3c3692688a01754b6ee2d4e2c0f6c2",
    ),
    ("gtzan", "filtered"): Published(
        (443, 197, 290),
        10,
        split="02634888b644040e75fe9c590ff73a6bd171ce7af2e4904441738433744e08dc",
        class_names="1d56271f845fee8aa970c13f6f8c0e5134ff3e145e90cb814917c5fc9dd113c0",
        figures=(
            Figure("VGGish features, linear SVM", _PONS, {"accuracy": 0.7724}, True),
            Figure("MFCC, SVM", "arXiv 1805.00237, as cited by " + _PONS, {"accuracy": 0.5344}, True),
        ),
    ),
    ("fma", "small"): Published((6400, 800, 800), 8),
    ("fma", "medium"): Published(
        (19922, 2505, 2573),
        16,
        figures=(
            Figure("MFCC, SVM", _FMA, {"accuracy": 0.61}, True),
            Figure("nine kinds of features, SVM", _FMA, {"accuracy": 0.63}, True),
        ),
    ),
}


def same_split(sha256: str, about: Mapping[str, Any] | None) -> tuple[Published | None, str]:
    """The published split that records are of, and, where there is none, why not.

    Args:
        sha256: Of the records' split.
        about: What spec.json keeps of the split file: ``sha256``, ``tracks``, ``tags`` and ``made``; None without one.

    Returns:
        (what was published, "") or (None, the reason); (None, "") where nobody says that this is a public data set.
    """
    for entry in TABLE.values():
        if entry.split and entry.split == sha256:
            return entry, ""
    made = (about or {}).get("made") or {}
    if about is None or made.get("dataset") is None:
        return None, ""
    key = (str(made["dataset"]), str(made.get("split")))
    if key not in TABLE:
        return None, f"nothing is known of a published split {' '.join(key)}"
    name, entry = " ".join(key), TABLE[key]
    if entry.split:
        return None, f"the published split {name} is {entry.split[:8]}, and this is {sha256[:8]}: {_lost(about, entry)}"
    if about.get("sha256") != sha256:
        return (
            None,
            f"the records are not those of the split {name}: some of its tracks could not be read, or are others",
        )
    if tuple((about.get("tracks") or {}).get(split) for split in ("train", "valid", "test")) != entry.tracks:
        return None, f"the published split {name} has {_counts(entry.tracks)} tracks: {_lost(about, entry)}"
    return entry, ""


def compare(
    sha256: str, about: Mapping[str, Any] | None, classes: Sequence[str], evaluated: int
) -> tuple[Published | None, str]:
    """`same_split`, and whether the classes and the evaluated tracks are the published ones, too.

    Args:
        sha256: Of the run's split.
        about: As of `same_split`.
        classes: Of the run.
        evaluated: Tracks of the test split that its figures are means over.
    """
    entry, why = same_split(sha256, about)
    if entry is None:
        return None, why
    if entry.class_names:
        alike = _names_hash(classes) == entry.class_names
    else:
        alike = len(classes) == entry.classes and set(classes) == set((about or {}).get("tags") or ())
    if not alike:
        return (
            None,
            f"the published figures are of the split's {entry.classes} classes, and the run has others ({len(classes)})",
        )
    if evaluated != entry.tracks[2]:
        return None, f"{evaluated} tracks were evaluated, and the published figures are means over {entry.tracks[2]}"
    return entry, ""


def _names_hash(names: Sequence[str]) -> str:
    # As comparability.of_values, which stands above this room.
    return hashlib.sha256(json.dumps(sorted(names), ensure_ascii=False).encode()).hexdigest()


def _lost(about: Mapping[str, Any], entry: Published) -> str:
    tracks = about.get("tracks") or {}
    found = tuple(tracks.get(split, 0) for split in ("train", "valid", "test"))
    return f"this has {_counts(found)}" if found != entry.tracks else "other tracks are in its splits"


def _counts(tracks: Sequence[int]) -> str:
    return "/".join(f"{count:,}" for count in tracks)
