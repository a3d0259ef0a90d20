"""Public data sets from their publishers' own files to a list of tracks, tags and named splits: the table `DATASETS`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from orpheus.data.collection.datasets import fma, gtzan, jamendo, mirdata, msd, mtt
from orpheus.data.collection.datasets.common import Collection
from orpheus.errors import ConfigError


@dataclass(frozen=True)
class Dataset:
    """One of them.

    Attributes:
        title: Its name in full, and its paper.
        files: What must be in the folder of annotations.
        read: (annotations, its folder or a loader's name; audio folder) → everything that the files list.
        default: Splits that are written where none is named; empty for all that the annotations allow.
    """

    title: str
    files: str
    read: Callable[[Path, Path], Collection]
    default: tuple[str, ...] = ()


DATASETS = {
    "mtt": Dataset("MagnaTagATune (Law et al. 2009)", "annotations_final.csv, clip_info_final.csv", mtt.read),
    "msd": Dataset(
        "Million Song Dataset (Bertin-Mahieux et al. 2011) with Last.fm tags",
        "lists of ids of a split (see docs/DATASETS.md), and their labels or the Last.fm tag database",
        msd.read,
    ),
    "jamendo": Dataset(
        "MTG-Jamendo (Bogdanov et al. 2019)",
        "autotagging*-{train,validation,test}.tsv, also in split-0 to split-4",
        jamendo.read,
    ),
    "gtzan": Dataset(
        "GTZAN (Tzanetakis & Cook 2002), faults left out (Kereliuk et al. 2015)",
        "train_filtered.txt, valid_filtered.txt, test_filtered.txt",
        gtzan.read,
    ),
    "fma": Dataset("Free Music Archive (Defferrard et al. 2017)", "tracks.csv, genres.csv", fma.read, ("small",)),
    "mirdata": Dataset("a data set of the package mirdata", "none: --mirdata NAME", mirdata.read),
}


def chosen(name: str, found: Collection, splits: Sequence[str]) -> tuple[str, ...]:
    """Names of the splits to write.

    Raises:
        ConfigError: one is named that the annotations do not give.
    """
    wanted = tuple(splits) or DATASETS[name].default or tuple(found.splits)
    if unknown := [split for split in wanted if split not in found.splits]:
        raise ConfigError(
            f"--splits {unknown[0]}: the annotations of {name} give {', '.join(found.splits) or 'no split'}; name one of these"
        )
    return wanted
