"""MagnaTagATune: 25,863 clips of 29 s with 188 tags (Law et al. 2009), split by the first sign of the clip's folder.

Folders 0 to b train, c validates, d to f test. Published results use one of two sets of tags: the 50 most frequent as
they are (Pons & Serra 2019; Won et al. 2020), or the 50 most frequent after synonyms were merged.
"""

from collections.abc import Sequence
from pathlib import Path

from orpheus.base import csv_files
from orpheus.data.collection.datasets.common import Collection, Listed, NamedSplit
from orpheus.data.tags.targets import popularity
from orpheus.errors import DataError

# Clip folders of each split.
FOLDERS = {"train": "0123456789ab", "valid": "c", "test": "def"}
# The 50 most frequent tags, most frequent first, as the published taggers name them.
TOP = (
    "guitar",
    "classical",
    "slow",
    "techno",
    "strings",
    "drums",
    "electronic",
    "rock",
    "fast",
    "piano",
    "ambient",
    "beat",
    "violin",
    "vocal",
    "synth",
    "female",
    "indian",
    "opera",
    "male",
    "singing",
    "vocals",
    "no vocals",
    "harpsichord",
    "loud",
    "quiet",
    "flute",
    "woman",
    "male vocal",
    "no vocal",
    "pop",
    "soft",
    "sitar",
    "solo",
    "man",
    "classic",
    "choir",
    "voice",
    "new age",
    "dance",
    "male voice",
    "female vocal",
    "beats",
    "harp",
    "cello",
    "no voice",
    "weird",
    "country",
    "metal",
    "female voice",
    "choral",
)
# Spellings that count as the first of each line; the list goes round with K. Choi's magnatagatune-list.
SYNONYMS = tuple(
    tuple(line.split("/"))
    for line in [
        "beat/beats",
        "chant/chanting",
        "choir/choral",
        "classical/clasical/classic",
        "drum/drums",
        "electro/electronic/electronica/electric",
        "fast/fast beat/quick",
        "female/female singer/female singing/female vocals/female voice/woman/woman singing/women",
        "flute/flutes",
        "guitar/guitars",
        "hard/hard rock",
        "harpsichord/harpsicord",
        "heavy/heavy metal/metal",
        "horn/horns",
        "india/indian",
        "jazz/jazzy",
        "male/male singer/male vocal/male vocals/male voice/man/man singing/men",
        "no beat/no drums",
        "no singer/no singing/no vocal/no vocals/no voice/no voices/instrumental",
        "opera/operatic",
        "orchestra/orchestral",
        "quiet/silence",
        "singer/singing",
        "space/spacey",
        "string/strings",
        "synth/synthesizer",
        "violin/violins",
        "vocal/vocals/voice/voices",
        "strange/weird",
    ]
)
_CHECKED = ("clip_id", "mp3_path")


def read(annotations: Path, audio: Path) -> Collection:
    """Clips, both sets of tags, and three splits.

    Args:
        annotations: Folder with annotations_final.csv and clip_info_final.csv.
        audio: Not read; the clips' paths are below it.

    Returns:
        Sets ``tags`` (`TOP`) and ``tags-merged`` (the 50 most frequent of the merged). Splits ``clean`` and ``merged``,
        of clips with a class in the set, and ``all`` with the untagged ones.

    Raises:
        DataError: a file or column is missing, a cell is no 0 or 1, a folder is none of 0 to f.
    """
    names, rows = _table(annotations / "annotations_final.csv", _CHECKED)
    if lacking := [tag for tag in TOP if tag not in names]:
        raise DataError(
            f"{annotations / 'annotations_final.csv'}: no column {lacking[0]!r}; it has {len(names)} columns"
        )
    artists = _artists(annotations / "clip_info_final.csv")
    tags = [name for name in names if name not in _CHECKED]
    tracks, every, merged = {}, {}, {}
    name_of = {spelling: group[0] for group in SYNONYMS for spelling in group}
    for where, row in rows:
        clip, path = row["clip_id"], row["mp3_path"]
        if clip in tracks:
            raise DataError(f"{where}: clip {clip} occurs twice")
        tracks[clip] = Listed((path,), artists.get(clip, ""))
        every[clip] = [tag for tag in tags if _flag(row[tag], tag, where)]
        merged[clip] = list(dict.fromkeys(name_of.get(tag, tag) for tag in every[clip]))
    ids = {split: [clip for clip, each in tracks.items() if _split(each.paths[0]) == split] for split in FOLDERS}
    top = tuple(tag for tag, _ in popularity(merged.values())[: len(TOP)])
    sets = {"tags": _only(every, TOP), "tags-merged": _only(merged, top)}
    return Collection(
        tracks,
        sets,
        {
            "clean": NamedSplit(_tagged(ids, sets["tags"]), "tags", TOP),
            "all": NamedSplit(ids, "tags", TOP),
            "merged": NamedSplit(_tagged(ids, sets["tags-merged"]), "tags-merged", top),
        },
    )


def _only(tags: dict[str, list[str]], classes: Sequence[str]) -> dict[str, list[str]]:
    return {clip: [tag for tag in each if tag in classes] for clip, each in tags.items()}


def _tagged(ids: dict[str, list[str]], tags: dict[str, list[str]]) -> dict[str, list[str]]:
    return {split: [clip for clip in clips if tags[clip]] for split, clips in ids.items()}


def _split(path: str) -> str:
    return next((split for split, folders in FOLDERS.items() if path[:1] in folders), "")


def _artists(path: Path) -> dict[str, str]:
    _, rows = _table(path, ("clip_id", "artist"))
    return {row["clip_id"]: row["artist"] for _, row in rows}


def _flag(cell: str, tag: str, where: str) -> bool:
    if cell not in ("0", "1"):
        raise DataError(f"{where}: {tag} is {cell!r}, expected 0 or 1")
    return cell == "1"


def _table(path: Path, required: Sequence[str]) -> tuple[list[str], list[tuple[str, dict[str, str]]]]:
    """Columns and rows of a file whose cells are separated by tabs, each in quotes that titles may have inside, too."""
    lines = csv_files.iterate(path, delimiter="\t", quotes=False)
    _, columns = next(lines, (0, []))
    columns = [_bare(cell) for cell in columns]
    if lacking := [name for name in required if name not in columns]:
        raise DataError(f"{path}: no column {lacking[0]}; is it the publisher's file, separated by tabs?")
    rows = []
    for number, cells in lines:
        if len(cells) != len(columns):
            raise DataError(f"{path}:{number}: {len(cells)} cells, the header has {len(columns)}; download it again")
        row = dict(zip(columns, map(_bare, cells), strict=True))
        if path.name.startswith("annotations") and not _split(row["mp3_path"]):
            raise DataError(f"{path}:{number}: mp3_path {row['mp3_path']!r} is in none of the folders 0 to f")
        rows.append((f"{path}:{number}", row))
    if not rows:
        raise DataError(f"{path}: holds no clip")
    return columns, rows


def _bare(cell: str) -> str:
    """A cell without the quotes around it; those inside are kept, doubled ones single."""
    cell = cell.strip()
    return cell[1:-1].replace('""', '"') if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell
