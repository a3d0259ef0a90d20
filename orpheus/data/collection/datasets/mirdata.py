"""Data sets by the loaders of the package mirdata (Bittner et al. 2019), where it is installed; it is not required."""

import importlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orpheus.data.collection.datasets.common import SPLITS, Collection, Listed, NamedSplit, check_ids
from orpheus.errors import ConfigError, DataError

_TAGS = ("tags", "genre", "genres")
_ARTISTS = ("artist_id", "artist", "artist_name")
_SPLITS = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "validation": "valid",
    "val": "valid",
    "test": "test",
}


def read(annotations: Path, audio: Path) -> Collection:
    """Tracks, tags, and the split if the loader has one, of a data set that mirdata has downloaded.

    Args:
        annotations: Name of the data set in mirdata.
        audio: Its data_home.

    Returns:
        Set ``tags``: the loader's tags, or its genre. Split ``mirdata`` where it has train, valid and test.

    Raises:
        ConfigError: mirdata is not installed, or knows no such data set.
        DataError: no track has tags, or the index is not there.
    """
    name = str(annotations)
    try:
        package = importlib.import_module("mirdata")
    except ImportError:
        raise ConfigError(f"--mirdata {name}: the package mirdata is not installed; pip install mirdata") from None
    if name not in package.list_datasets():
        raise ConfigError(
            f"--mirdata {name}: mirdata knows no such data set; python -c 'import mirdata; print(mirdata.list_datasets())'"
        )
    dataset = package.initialize(name, data_home=str(audio))
    try:
        loaded: Mapping[str, Any] = dataset.load_tracks()
        tags = {str(track_id): _tags(track) for track_id, track in loaded.items()}
    except FileNotFoundError as error:
        raise DataError(
            f"{audio}: {error}; mirdata.initialize({name!r}, data_home=…).download() gets what is missing"
        ) from None
    if not any(tags.values()):
        raise DataError(f"--mirdata {name}: its tracks have none of {', '.join(_TAGS)}; it is no data set of tags")
    tracks = {str(i): Listed((_place(track, audio),), _first(track, _ARTISTS)) for i, track in loaded.items()}
    classes = tuple(sorted({tag for each in tags.values() for tag in each}))
    ids = _ids_of(dataset)
    splits = {"mirdata": NamedSplit(check_ids(name, ids), "tags", classes)} if ids else {}
    return Collection(tracks, {"tags": tags}, splits)


def _place(track: Any, home: Path) -> str:
    path = Path(getattr(track, "audio_path", None) or f"{track.track_id}.wav")
    return path.relative_to(home).as_posix() if path.is_relative_to(home) else path.as_posix()


def _first(track: Any, names: tuple[str, ...]) -> str:
    return next((str(value) for name in names if (value := getattr(track, name, None))), "")


def _tags(track: Any) -> list[str]:
    given = [getattr(track, name, None) for name in _TAGS]
    value: Any = next(filter(None, given), [])
    several = re.split(r"[\t;|]", value) if isinstance(value, str) else [str(each) for each in value]
    return list(dict.fromkeys(filter(None, (tag.strip().rsplit("---", 1)[-1] for tag in several))))


def _ids_of(dataset: Any) -> dict[str, list[str]]:
    """Ids by split, if the loader gives train and test, and every other split is one that is known."""
    try:
        given = dataset.get_track_splits()
    except (AttributeError, NotImplementedError):
        return {}
    if not set(given) <= set(_SPLITS) or not {"train", "test"} <= {_SPLITS[name] for name in given}:
        return {}
    ids: dict[str, list[str]] = {split: [] for split in SPLITS}
    for name, tracks in given.items():
        ids[_SPLITS[name]] += [str(track_id) for track_id in tracks]
    return ids
