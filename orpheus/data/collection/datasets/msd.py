"""Million Song Dataset with Last.fm tags: three published splits of its tracks, and 50 tags each.

``choi``: K. Choi's lists (Choi et al. 2017). ``filtered``: the lists that Lee et al. 2017 and Won et al. 2020 use.
``cals``: cleaned and by artist (Won et al. 2021), with tags of its own.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from orpheus.base import arrays
from orpheus.data.collection.datasets.common import SPLITS, Collection, Listed, NamedSplit, check_ids, lines
from orpheus.data.tags.database import TagDatabase
from orpheus.errors import DataError

LASTFM = "lastfm_tags.db"
# A tag counts above this weight of 0 to 100 (Choi et al. 2017).
WEIGHT = 50
# Columns of the published labels, in their order.
TOP = (
    "rock",
    "pop",
    "alternative",
    "indie",
    "electronic",
    "female vocalists",
    "dance",
    "00s",
    "alternative rock",
    "jazz",
    "beautiful",
    "metal",
    "chillout",
    "male vocalists",
    "classic rock",
    "soul",
    "indie rock",
    "Mellow",
    "electronica",
    "80s",
    "folk",
    "90s",
    "chill",
    "instrumental",
    "punk",
    "oldies",
    "blues",
    "hard rock",
    "ambient",
    "acoustic",
    "experimental",
    "female vocalist",
    "guitar",
    "Hip-Hop",
    "70s",
    "party",
    "country",
    "easy listening",
    "sexy",
    "catchy",
    "funk",
    "electro",
    "heavy metal",
    "Progressive rock",
    "60s",
    "rnb",
    "indie pop",
    "sad",
    "House",
    "happy",
)
CALS_TOP = (
    "rock",
    "pop",
    "indie",
    "alternative",
    "electronic",
    "hip-hop",
    "metal",
    "jazz",
    "punk",
    "folk",
    "alternative rock",
    "indie rock",
    "dance",
    "hard rock",
    "00s",
    "soul",
    "hardcore",
    "80s",
    "country",
    "classic rock",
    "punk rock",
    "blues",
    "chillout",
    "experimental",
    "heavy metal",
    "death metal",
    "90s",
    "reggae",
    "progressive rock",
    "ambient",
    "acoustic",
    "beautiful",
    "british",
    "rnb",
    "funk",
    "metalcore",
    "mellow",
    "world",
    "guitar",
    "trance",
    "indie pop",
    "christian",
    "house",
    "spanish",
    "latin",
    "psychedelic",
    "electro",
    "piano",
    "70s",
    "progressive metal",
)
# Split → names of its lists and of its labels, and their columns.
_FILES = {
    "choi": ("{split}_x_msd_id.txt", "{split}_y.npy", TOP),
    "filtered": ("filtered_list_{split}.txt", "filtered_y_{split}.npy", TOP),
    "cals": ("{split}_ids.npy", "{split}_binaries.npy", CALS_TOP),
}


def read(annotations: Path, audio: Path) -> Collection:
    """Tracks, and tags and splits of every kind whose lists are there.

    Args:
        annotations: Folder with lists of ids, ``TRAADIN128F931D672`` a line (``cals``: arrays of text), and beside
            them the published labels, (tracks, 50) of 0 and 1 in the order of the list. Without labels, tags are those
            of lastfm_tags.db in the same folder with a weight above 50 (not for ``cals``).
        audio: Not read; tracks are ``A/A/D/TRAADIN128F931D672.mp3`` below it, or anywhere below it by that name.

    Raises:
        DataError: no list, a split without one of its three lists, an id that is none, labels of another size, or
            neither labels nor a tag database.
    """
    tracks: dict[str, Listed] = {}
    tags: dict[str, dict[str, list[str]]] = {}
    splits = {}
    for name, (ids_name, labels_name, classes) in _FILES.items():
        paths = {split: annotations / ids_name.format(split=split) for split in SPLITS}
        if not any(path.is_file() for path in paths.values()):
            continue
        ids = {split: _ids(path) for split, path in paths.items()}
        labels = {split: annotations / labels_name.format(split=split) for split in SPLITS}
        of_set: dict[str, list[str]] = {}
        for split in SPLITS:
            # The cleaned tags of cals are none of Last.fm's own.
            labelled = labels[split].is_file() or classes is CALS_TOP
            of_set |= (_labels if labelled else _weighted)(labels[split], ids[split], classes)
        key = f"tags-{name}"
        tags[key] = of_set
        splits[name] = NamedSplit(check_ids(str(paths["train"]), ids), key, classes)
        tracks |= {i: Listed((f"{i[2]}/{i[3]}/{i[4]}/{i}.mp3",)) for i in of_set}
    if not splits:
        names = ", ".join(files[0].format(split="train") for files in _FILES.values())
        raise DataError(f"{annotations}: no list of a split; it needs one of {names}, and those of valid and test")
    return Collection(tracks, tags, splits)


def _ids(path: Path) -> list[str]:
    if path.suffix == ".npy":
        found = [str(value) for value in arrays.load_npy(path, kinds="U").ravel()]
    else:
        found = lines(path)
    for number, track_id in enumerate(found, 1):
        if len(track_id) != 18 or not track_id.startswith("TR") or not track_id.isalnum():
            raise DataError(
                f"{path}:{number}: {track_id[:40]!r} is no track id of the Million Song Dataset, as TRAADIN128F931D672 is"
            )
    return found


def _labels(path: Path, ids: Sequence[str], classes: Sequence[str]) -> dict[str, list[str]]:
    values = arrays.load_npy(path)
    if values.shape != (len(ids), len(classes)):
        raise DataError(f"{path}: {values.shape}, expected {len(ids)} tracks of its list by {len(classes)} tags")
    if not np.isin(values, (0, 1)).all():
        raise DataError(f"{path}: holds values that are neither 0 nor 1")
    return {
        track_id: [classes[column] for column in np.flatnonzero(row)] for track_id, row in zip(ids, values, strict=True)
    }


def _weighted(labels: Path, ids: Sequence[str], classes: Sequence[str]) -> dict[str, list[str]]:
    """Tags by the Last.fm database, in the spelling of the classes."""
    path = labels.with_name(LASTFM)
    if not path.is_file():
        raise DataError(f"{labels.parent}: neither {labels.name} beside the list of ids nor {LASTFM}; add one of them")
    found = TagDatabase(path).tags_of_all(ids, min_val=np.nextafter(WEIGHT, 100))
    if not any(tag in classes for tags in found.values() for tag in tags):
        raise DataError(
            f"{path}: none of the {len(classes)} tags is on any of {len(ids)} tracks; is it the Last.fm database?"
        )
    return {track_id: [tag for tag in classes if tag in set(tags)] for track_id, tags in found.items()}
