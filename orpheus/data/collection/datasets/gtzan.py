"""GTZAN: 1,000 clips of 30 s in ten genres (Tzanetakis & Cook 2002), split so that faults and artists do not leak.

The lists leave out repetitions and distortions that Sturm (2013) found (Kereliuk et al. 2015): 443, 197 and 290 clips.
"""

import re
from pathlib import Path

from orpheus.data.collection.datasets.common import SPLITS, Collection, Listed, NamedSplit, check_ids, lines
from orpheus.errors import DataError

GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
_LINE = re.compile(r"(?:.*/)?(([a-z]+)\.\d{5})(?:\.[a-z0-9]+)?")


def read(annotations: Path, audio: Path) -> Collection:
    """Clips, genres and the split ``filtered``.

    Args:
        annotations: Folder with train_filtered.txt, valid_filtered.txt and test_filtered.txt: ``blues/blues.00029.au``
            a line, of whatever suffix.
        audio: Not read; clips are found below it by name, as .au or .wav.

    Raises:
        DataError: a list is missing, a line is no clip of the ten genres, a clip is there twice.
    """
    ids: dict[str, list[str]] = {each: [] for each in SPLITS}
    tracks, genres = {}, {}
    for each in SPLITS:
        path = annotations / f"{each}_filtered.txt"
        for number, line in enumerate(lines(path), 1):
            found = _LINE.fullmatch(line)
            if not found or found[2] not in GENRES:
                raise DataError(f"{path}:{number}: {line[:60]!r} is no clip of GTZAN, as blues/blues.00029.au is")
            ids[each].append(found[1])
            tracks[found[1]] = Listed((line, f"{found[2]}/{found[1]}.wav", f"{found[2]}/{found[1]}.au"))
            genres[found[1]] = [found[2]]
    split = NamedSplit(check_ids(str(annotations), ids), "tags", GENRES)
    return Collection(tracks, {"tags": genres}, {"filtered": split})
