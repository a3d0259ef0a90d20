"""Public data sets as their publishers lay them out, with a few made-up tracks and sounds of a moment."""

from pathlib import Path

import numpy as np
import soundfile

from orpheus.data.collection.datasets import fma, gtzan, mtt

RATE = 8000


def sound(path: Path, *, empty: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if empty:
        path.touch()
        return
    tone = np.random.default_rng(len(path.name)).normal(0, 0.1, RATE // 2)
    soundfile.write(path, tone, RATE, format="MP3" if path.suffix == ".mp3" else None)


# Clip, folder, artist, tags: three of the real set's clips are empty, all in folders that train.
CLIPS = (
    ("2", "f", "Bach", ["classical", "strings", "violins"]),
    ("6", "c", "Bach", ["clasical"]),
    ("10", "0", 'The "Fs"', ["rock", "drum", "drums"]),
    ("11", "6", "Norine", ["guitar"]),
    ("12", "b", "Norine", ["weird"]),
    ("13", "d", "", []),
    ("14", "c", "Solace", ["vocals", "female"]),
    ("15", "a", "Solace", ["pop"]),
)
MORE = ("clasical", "violins", "drum", "strange", "eastern", "horns")


def mtt_folder(root: Path) -> tuple[Path, Path]:
    """Annotations and audio; clip 11 is empty, clip 15 is not there."""
    tags = sorted({*mtt.TOP, *MORE, *(s for group in mtt.SYNONYMS for s in group)})
    head = ["clip_id", *tags, "mp3_path"]
    lines, infos = [head], [["clip_id", "track_number", "title", "artist", "album", "mp3_path"]]
    for clip, folder, artist, own in CLIPS:
        path = f"{folder}/artist-album-{clip}-0-29.mp3"
        lines.append([clip, *("1" if tag in own else "0" for tag in tags), path])
        infos.append([clip, "1", 'a "quoted" title', artist, "album", path])
        if clip != "15":
            sound(root / "mp3" / path, empty=clip == "11")
    for name, rows in (("annotations_final.csv", lines), ("clip_info_final.csv", infos)):
        text = "".join("\t".join(f'"{cell}"' for cell in row) + "\n" for row in rows)
        (root / name).write_text(text, encoding="utf-8")
    return root, root / "mp3"


def gtzan_folder(root: Path, suffix: str = ".wav") -> tuple[Path, Path]:
    """Thirty clips, ten a part; blues.00001 is not there."""
    lists = root / "lists"
    lists.mkdir(parents=True)
    for index, part in enumerate(("train", "valid", "test")):
        names = [f"{genre}/{genre}.{index:05d}" for genre in gtzan.GENRES]
        (lists / f"{part}_filtered.txt").write_text("".join(f"{name}.au\n" for name in names))
        for name in names:
            if name != "blues/blues.00001":
                sound(root / "genres_original" / f"{name}{suffix}")
    return lists, root / "genres_original"


def fma_folder(root: Path) -> tuple[Path, Path]:
    """Eight tracks in three subsets and one in none; 98565 is empty."""
    pairs = [
        ("album", "title"),
        ("artist", "id"),
        ("set", "split"),
        ("set", "subset"),
        ("track", "genre_top"),
        ("track", "genres_all"),
        ("track", "title"),
    ]
    assert set(fma._COLUMNS.values()) <= set(pairs)
    metadata = root / "fma_metadata"
    metadata.mkdir(parents=True)
    rows = [
        (2, 1, "training", "small", "Hip-Hop", "[21]"),
        (3, 1, "training", "medium", "Rock", "[12]"),
        (5, 2, "validation", "small", "Rock", "[12, 21]"),
        (10, 3, "test", "small", "Hip-Hop", "[21]"),
        (20, 4, "training", "large", "", "[21, 12, 53]"),
        (140, 5, "test", "medium", "Rock", "[12]"),
        (98565, 6, "training", "small", "Rock", "[12]"),
        (155320, 7, "test", "", "", "[]"),
    ]
    text = "," + ",".join(first for first, _ in pairs) + "\n," + ",".join(second for _, second in pairs) + "\n"
    text += "track_id" + "," * len(pairs) + "\n"
    for number, artist, part, subset, root_genre, genres in rows:
        text += f'{number},"an album, with a comma",{artist},{part},{subset},{root_genre},"{genres}","two\nlines"\n'
        name = f"{number:06d}"
        sound(root / "fma_large" / name[:3] / f"{name}.mp3", empty=number == 98565)
    (metadata / "tracks.csv").write_text(text)
    titles = "12,100,0,Rock,12\n21,100,0,Hip-Hop,21\n53,1,12,Noise-Rock,12\n"
    (metadata / "genres.csv").write_text("genre_id,#tracks,parent,title,top_level\n" + titles)
    return metadata, root / "fma_large"
