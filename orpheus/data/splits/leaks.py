"""What is in two splits: tracks, artists, albums, identical audio."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orpheus.base import csv_files
from orpheus.base.files import read_json, read_jsonl
from orpheus.data.items import layout
from orpheus.data.records.tracks import GROUP_COLUMNS, PATH_COLUMNS
from orpheus.data.splits import search
from orpheus.data.tags.files import HEADER, read_tags
from orpheus.errors import DataError
from orpheus.runs import schemas

Splits = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Leak:
    """One kind of thing that should be in one split only.

    Attributes:
        kind: ``"track"``, ``"artist"``, ``"album"`` or ``"audio"``.
        shared: Value → split → its tracks there, for values in several splits; most tracks first.
        tracks: Number of tracks that have such a value.
        values: Number of different values looked at.
        unknown: Tracks whose value is not known.
    """

    kind: str
    shared: dict[str, dict[str, tuple[str, ...]]]
    tracks: int
    values: int
    unknown: int


def audit(splits: Splits, facts: Mapping[str, Mapping[str, str]]) -> list[Leak]:
    """Look for values that are in several splits.

    Args:
        splits: Split → track ids.
        facts: Kind → track id → value; an absent or empty value is not known and shared with nobody.

    Returns:
        First the tracks themselves, then one for each kind.
    """
    ids = sorted({track for split in splits.values() for track in split})
    found = []
    for kind, value_of in {"track": {track: track for track in ids}, **facts}.items():
        where: dict[str, dict[str, list[str]]] = {}
        for split, tracks in splits.items():
            for track in dict.fromkeys(tracks):
                if value := value_of.get(track):
                    where.setdefault(value, {}).setdefault(split, []).append(track)
        shared = {value: its for value, its in where.items() if len(its) > 1}
        size = {value: sum(map(len, its.values())) for value, its in shared.items()}
        ordered = sorted(shared, key=lambda value: (-size[value], value))
        found.append(
            Leak(
                kind,
                {value: {split: tuple(tracks) for split, tracks in shared[value].items()} for value in ordered},
                len({track for its in shared.values() for tracks in its.values() for track in tracks}),
                len(where),
                sum(not value_of.get(track) for track in ids),
            )
        )
    return found


def to_json(opened: "Opened", found: Iterable[Leak]) -> dict:
    """An audit as JSON: ``{"tracks": {split: number}, "leaks": {kind: {value: {split: [ids]}}}}``."""
    return {
        "tracks": {split: len(ids) for split, ids in opened.splits.items()},
        "leaks": {
            leak.kind: {value: {p: list(ids) for p, ids in splits.items()} for value, splits in leak.shared.items()}
            for leak in found
        },
    }


@dataclass
class Facts:
    """What is known of tracks: kind → track id → value; `paths` are their audio files."""

    artist: dict[str, str] = field(default_factory=dict)
    album: dict[str, str] = field(default_factory=dict)
    audio: dict[str, str] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)

    def update(self, other: "Facts") -> None:
        """Take what the other knows, too; it wins."""
        for name in ("artist", "album", "audio", "paths"):
            getattr(self, name).update({track: value for track, value in getattr(other, name).items() if value})

    def kinds(self) -> dict[str, dict[str, str]]:
        """The kinds of which anything is known, for `audit`."""
        return {name: values for name in ("artist", "album", "audio") if (values := getattr(self, name))}


def names_artists(path: str | os.PathLike) -> bool:
    """Whether a file says more of tracks than their tags: a tag file, or records with their manifest."""
    path = Path(path).expanduser()
    if path.is_dir():
        return (path / "manifest.jsonl").is_file()
    return path.name.endswith(".jsonl") or (path.suffix == ".tsv" and _is_tag_file(path))


def _is_tag_file(path: Path) -> bool:
    return tuple(_first_line(path).split("\t")[: len(HEADER)]) == HEADER


def read_facts(paths: Iterable[str | os.PathLike], *, root: str | os.PathLike | None = None) -> Facts:
    """Artists, albums and hashes of tracks from files that have them.

    Args:
        paths: MTG-Jamendo tag files; a csv of tracks as tools.preprocess takes it (columns track_id, and any of artist or
            group, album, sha256, audio_path); a folder of records or its manifest.jsonl; lines of id, tab, artist.
        root: Folder that relative paths of audio start from; None for the file's own.

    Raises:
        DataError: missing or malformed, or a csv without any of the columns.
    """
    facts = Facts()
    for given in paths:
        path = Path(given).expanduser()
        if path.is_dir() or path.suffix == ".jsonl":
            rows = _manifest(path)
            facts.update(Facts(artist={row["id"]: row.get("artist", "") for row in rows}))
            continue
        first = _first_line(path)
        base = Path(root).expanduser() if root else path.parent
        if _is_tag_file(path):
            facts.update(_tag_file(path, base))
        elif "track_id" in first.split(",") or "track_id" in first.split("\t"):
            facts.update(_csv(path, base, "," if "," in first else "\t"))
        else:
            facts.update(Facts(artist=layout.read_pairs(path)))
    return facts


def _first_line(path: Path) -> str:
    try:
        with open(path, encoding="utf-8-sig") as file:
            return file.readline().rstrip("\r\n")
    except FileNotFoundError:
        raise DataError(f"{path}: no such list of tracks") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({error})") from None


def _tag_file(path: Path, base: Path) -> Facts:
    tracks = read_tags(path)
    return Facts(
        artist={track: row.artist for track, row in tracks.items()},
        album={track: row.album for track, row in tracks.items()},
        paths={track: str(base / row.path) for track, row in tracks.items() if row.path},
    )


def _csv(path: Path, base: Path, delimiter: str) -> Facts:
    table = csv_files.read(path, delimiter=delimiter, required=["track_id"])
    columns, rows = table.columns, [row for _, row in table.rows]

    def column(names: Sequence[str]) -> dict[str, str]:
        name = next((name for name in names if name in columns), None)
        return {row["track_id"].strip(): row[name] for row in rows} if name else {}

    def stripped(names: Sequence[str]) -> dict[str, str]:
        return {track: value.strip() for track, value in column(names).items()}

    paths = {track: str(base / value) for track, value in column(PATH_COLUMNS).items() if value.strip()}
    facts = Facts(stripped(GROUP_COLUMNS), stripped(("album",)), stripped(("sha256",)), paths)
    if not (facts.artist or facts.album or facts.audio or facts.paths):
        raise DataError(f"{path}: columns {', '.join(columns)}; needs one of artist, group, album, sha256, audio_path")
    return facts


def _manifest(path: Path) -> list[dict]:
    path = path / "manifest.jsonl" if os.path.isdir(path) else path  # Path.is_dir raises where a name is too long
    rows = read_jsonl(path)
    for number, row in enumerate(rows, 1):
        if not all(
            isinstance(row.get(key, default), str) for key, default in (("id", 0), ("shard", 0), ("artist", ""))
        ):
            raise DataError(
                f"{path}:{number}: no id or no shard, or one that is no text; is it the manifest.jsonl of records?"
            )
    return rows


@dataclass(frozen=True)
class Opened:
    """A split: train, valid and test → track ids, and the folder of its records and the shards of each where it is one of records."""

    splits: dict[str, tuple[str, ...]]
    records: Path | None = None
    shards: Mapping[str, Sequence[str]] = field(default_factory=dict)


def open_split(paths: Sequence[str | os.PathLike]) -> Opened:
    """A split of any kind.

    Args:
        paths: One of: a split of tools.split (JSON); a run folder; a folder of records whose shards are named by split; a
            data folder whose splits/ holds ``items_index_train_NAME.tsv`` and so on. Or three files for training,
            validation and test: MTG-Jamendo tag files, or lists of ids.

    Raises:
        DataError: none of these.
    """
    if len(paths) == len(search.SPLITS):
        named = zip(search.SPLITS, (Path(path).expanduser() for path in paths), strict=True)
        return Opened({split: _ids(path) for split, path in named})
    if len(paths) != 1:
        raise DataError(f"{len(paths)} files: give one split, or three lists for training, validation and test")
    path = Path(paths[0]).expanduser()
    if path.is_file():
        return Opened(search.load(path)[0])
    if (path / "run.json").is_file():
        settings = schemas.checked("run", read_json(path / "run.json"), str(path / "run.json"))
        shards, folder = settings.get("split"), settings.get("tfrecords_dir")
        if not isinstance(shards, dict) or not isinstance(folder, str):
            raise DataError(f"{path / 'run.json'}: has no split of records; audit the folder it was made from")
        return _of_shards(Path(folder), shards)
    if (path / "manifest.jsonl").is_file():
        shards = {
            split: sorted({r["shard"] for r in _manifest(path) if r["shard"].startswith(split)})
            for split in search.SPLITS
        }
        opened = _of_shards(path, shards)
        if sum(map(len, opened.splits.values())) != len(_manifest(path)):
            raise DataError(f"{path}: its shards are not named by split; give the run that was trained on them")
        return opened
    lists = sorted(path.glob("splits/items_index_train_*.tsv"))
    if len(lists) == 1:
        data = layout.DataFolder(path, lists[0].stem.removeprefix("items_index_train_"))
        # Not DataFolder.sets, which refuses what an audit is to report.
        files = {split: data.items_index(name) for split, name in zip(search.SPLITS, layout.SETS, strict=True)}
        return Opened({split: layout.read_ids(file) for split, file in files.items() if file.is_file()})
    raise DataError(
        f"{path}: no split: neither run.json nor manifest.jsonl nor one splits/items_index_train_*.tsv is in it"
    )


def _of_shards(folder: Path, shards: Mapping[str, Sequence[str]]) -> Opened:
    split_of = {shard: split for split, names in shards.items() for shard in names}
    splits: dict[str, list[str]] = {split: [] for split in shards}
    for row in _manifest(folder):
        if row["shard"] in split_of:
            splits[split_of[row["shard"]]].append(row["id"])
    return Opened({split: tuple(ids) for split, ids in splits.items()}, folder, shards)


def _ids(path: Path) -> tuple[str, ...]:
    if _is_tag_file(path):
        return tuple(read_tags(path))
    return layout.read_ids(path)
