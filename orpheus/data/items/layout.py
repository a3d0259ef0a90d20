"""The data folder of a recommendation or classification experiment: every file name in one place.

The names are those of the tartarus system (Oramas et al. 2017, arXiv 1706.09739): ids in
``items_index_SET_DATASET.tsv``, targets in ``y_SET_FACT_DIM_DATASET.npy``, features in
``X_SET_SETTING_DATASET.npy`` or ``.npz``, and so on.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from orpheus.base import files
from orpheus.errors import ConfigError, DataError

SETS = ("train", "val", "test")


class Splits(NamedTuple):
    """Item ids of the three sets, disjoint, in the order of their files."""

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]


def read_ids(path: Path) -> tuple[str, ...]:
    """Read a file with one id per line.

    Raises:
        DataError: the file is missing, empty or not UTF-8, or has a blank line or an id twice (line named).
    """
    text = _read_text(path)
    lines = [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")] if text.strip() else []
    if not lines:
        raise DataError(f"{path}: no ids; expected one per line")
    first: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            raise DataError(f"{path}:{number}: blank line; expected one id per line")
        if line in first:
            raise DataError(f"{path}:{number}: id {line!r} is already on line {first[line]}; ids must be unique")
        first[line] = number
    return tuple(first)


def write_ids(path: Path, ids: Iterable[str]) -> None:
    """Write one id per line, atomically."""
    with files.atomic(path) as file:
        file.writelines(f"{name}\n" for name in ids)


def read_pairs(path: Path) -> dict[str, str]:
    """Read an index of two tab-separated columns, id and value (``index_audio_DATASET.tsv`` and the like).

    Raises:
        DataError: the file is missing or not UTF-8, a line has no tab, or an id comes twice (line named).
    """
    pairs: dict[str, str] = {}
    for number, line in enumerate(_read_text(path).removesuffix("\n").split("\n"), 1):
        name, tab, value = line.rstrip("\r").partition("\t")
        if not tab or not name:
            raise DataError(f"{path}:{number}: expected ID<tab>VALUE, found {line[:40]!r}")
        if name in pairs:
            raise DataError(f"{path}:{number}: id {name!r} comes twice; ids must be unique")
        pairs[name] = value
    return pairs


def write_pairs(path: Path, pairs: Mapping[str, str]) -> None:
    """Write lines of id, tab, value, atomically; a value must not have line breaks."""
    with files.atomic(path) as file:
        file.writelines(f"{name}\t{value}\n" for name, value in pairs.items())


@dataclass(frozen=True)
class DataFolder:
    """Paths of one dataset in a data folder. Nothing is read or created on construction.

    Args:
        root: The data folder.
        dataset: Name in every file, for example ``"SUPER"``: letters, digits and ``. _ + -``.

    Raises:
        ConfigError: the dataset's name has another character.
    """

    root: Path
    dataset: str

    def __post_init__(self):
        object.__setattr__(self, "root", Path(self.root))
        if not re.fullmatch(r"[\w.+-]+", self.dataset):
            raise ConfigError(f"dataset={self.dataset!r}: use letters, digits and . _ + - only, it becomes a file name")

    # Folders. Some copies of the reference keep splits/ under the older name datasets/, and train_data/ inside it.

    @property
    def splits(self) -> Path:
        return self._first("splits", "datasets")

    @property
    def train_data(self) -> Path:
        return self._first("train_data", "splits/train_data", "datasets/train_data")

    @property
    def patches(self) -> Path:
        return self.root / "patches"

    @property
    def factors(self) -> Path:
        return self.root / "factors"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def predictions(self) -> Path:
        return self.root / "predictions"

    @property
    def results(self) -> Path:
        return self.root / "results"

    @property
    def index(self) -> Path:
        return self.root / "index"

    # Files.

    def items_index(self, subset: str) -> Path:
        """One item id per line; `subset` is mostly one of `SETS`."""
        return self.splits / f"items_index_{subset}_{self.dataset}.tsv"

    def targets(self, subset: str, fact: str, dim: int) -> Path:
        """Targets of a set, (items of the set, dim); `fact` is als, pmi, class…"""
        return self.splits / f"y_{subset}_{fact}_{dim}_{self.dataset}.npy"

    def item_factors(self, fact: str, dim: int, subset: str | None = None) -> Path:
        """Item factors of a factorisation, or those of one set."""
        return self._factors(f"item_factors_{_joined(subset, fact, dim)}_{self.dataset}.npy")

    def user_factors(self, fact: str, dim: int, subset: str | None = None) -> Path:
        """User factors, (users, dim), rows in the order of `users_index`."""
        return self._factors(f"user_factors_{_joined(subset, fact, dim)}_{self.dataset}.npy")

    def class_factors(self, fact: str, dim: int, subset: str | None = None) -> Path:
        """Class factors, (classes, dim), rows in the order of `labels`."""
        return self._factors(f"class_factors_{_joined(subset, fact, dim)}_{self.dataset}.npy")

    def factors_index(self, fact: str, dim: int) -> Path:
        """Ids of the items that a factorisation has seen, in the order of its `item_factors`."""
        return self._factors(f"index_factors_{fact}_{dim}_{self.dataset}.tsv")

    def factors_settings(self, fact: str, dim: int) -> Path:
        """How the factors were made (weighting, alpha, regularization): what folding in a new listener needs."""
        return self._factors(f"settings_factors_{fact}_{dim}_{self.dataset}.json")

    def matrix(self, subset: str = "test") -> Path:
        """Listening counts of a set's items, CSR (items of the set, users)."""
        return self.splits / f"matrix_{subset}_{self.dataset}.npz"

    def users_index(self) -> Path:
        """One user id per line: the columns of `matrix`."""
        return self.splits / f"users_index_{self.dataset}.tsv"

    def labels(self) -> Path:
        """One class name per line: the columns of class targets."""
        return self.splits / f"genre_labels_{self.dataset}.tsv"

    def items_labels(self) -> Path:
        """Lines of item id and its classes, tab-separated; the reference's ``y_DATASET.tsv`` has 0 and 1 instead."""
        return self.index / f"labels_{self.dataset}.tsv"

    def texts_index(self) -> Path:
        """Lines of item id and its whole text; an alternative to ``index_text_DATASET.tsv`` and a folder of files."""
        return self.index / f"texts_{self.dataset}.tsv"

    def names(self) -> Path:
        """Lines of item id and the name shown to people; optional."""
        return self.index / f"names_{self.dataset}.tsv"

    def features(self, subset: str, setting: str) -> Path:
        """The feature file of a set and setting, ``.npy`` or ``.npz``, whichever is there.

        Raises:
            DataError: neither exists, or both do; the settings that exist are listed.
        """
        either = [self.new_features(subset, setting, sparse=sparse) for sparse in (False, True)]
        found = [path for path in either if path.is_file()]
        if len(found) == 1:
            return found[0]
        if found:
            raise DataError(f"{found[0]} and {found[1].name}: both exist, remove the outdated one")
        known = ", ".join(self.settings(subset)) or "none"
        raise DataError(f"{either[0]}: neither .npy nor .npz exists; settings with a {subset} file: {known}")

    def new_features(self, subset: str, setting: str, *, sparse: bool) -> Path:
        """Where a new feature file goes."""
        return self.train_data / f"X_{subset}_{setting}_{self.dataset}.{'npz' if sparse else 'npy'}"

    def settings(self, subset: str = "train") -> list[str]:
        """Names of the settings that have a feature file for a set, sorted."""
        start, end = f"X_{subset}_", f"_{self.dataset}"
        found = self.train_data.glob(f"{start}*{end}.np[yz]")
        return sorted({path.stem[len(start) : -len(end)] for path in found})

    def text_model(self, setting: str) -> Path:
        """Vocabulary of a text setting, to turn new texts into its features."""
        return self.train_data / f"vocabulary_{setting}_{self.dataset}.json"

    def embedding(self, setting: str) -> Path:
        """Word vectors of a text setting, (words, dimensions); row = word id."""
        return self.train_data / f"embedding_weights_{setting}_{self.dataset}.npy"

    def patches_file(self, subset: str, count: int, seconds: float) -> Path:
        """`count` patches of `seconds` seconds per item, HDF5 with datasets ``index`` and ``features``."""
        return self.patches / f"patches_{subset}_{self.dataset}_{count}x{seconds:g}.hdf5"

    # Contents.

    def items(self, subset: str) -> tuple[str, ...]:
        """Ids of one set, as in its file."""
        return read_ids(self.items_index(subset))

    def source(self, subset: str) -> str:
        """The set whose files hold the rows of `subset`: train for a val set that has no index of its own."""
        return "train" if subset == "val" and not self.items_index("val").is_file() else subset

    def sets(self, *, val_share: float = 0.1, seed: int = 0) -> Splits:
        """The three sets of `sets_and_rest`, nothing held out besides."""
        return self.sets_and_rest(val_share=val_share, seed=seed)[0]

    def sets_and_rest(
        self, *, val_share: float = 0.1, test_share: float = 0.0, seed: int = 0
    ) -> tuple[Splits, tuple[str, ...]]:
        """Read the three sets, check that they share nothing, and hold out a part of train besides.

        Args:
            val_share: Share of the training items that becomes the val set where the folder has none; between 0 and 1.
            test_share: Share of the training items that is taken out of train, rounded up: with .1 and .1 of 264,344
                items 211,475 remain, 26,434 are val and 26,435 held out, as in tartarus.
            seed: Draws both parts.

        Returns:
            The sets, and what was held out.

        Raises:
            DataError: an index is missing or wrong, or an item is in two sets (it is named).
        """
        train, test = self.items("train"), self.items("test")
        count = 0
        if self.source("val") == "val":
            val = self.items("val")
        else:
            if not 0 < val_share < 1:
                raise ConfigError(f"val_share={val_share}: expected a share between 0 and 1")
            if len(train) < 2:
                raise DataError(f"{self.items_index('train')}: a single item leaves none for a val set")
            count = min(max(1, round(val_share * len(train))), len(train) - 1)
        held = math.ceil(round(test_share * len(train), 6))
        if count + held >= len(train):
            raise DataError(
                f"{self.items_index('train')}: {len(train)} items leave none to train on, with val_share={val_share} and "
                f"test_share={test_share}"
            )
        order = np.random.default_rng(seed).permutation(len(train)).tolist()
        drawn, out = set(order[:count]), set(order[count : count + held])
        if count:
            val = tuple(item for row, item in enumerate(train) if row in drawn)
        held_out = tuple(item for row, item in enumerate(train) if row in out)
        train = tuple(item for row, item in enumerate(train) if row not in drawn and row not in out)
        splits = Splits(train, val, test)
        named = {**splits._asdict(), "held out": held_out}
        for one, other in (
            ("train", "test"),
            ("val", "test"),
            ("train", "val"),
            ("held out", "test"),
            ("held out", "val"),
        ):
            source = "train" if one == "held out" else self.source(one)
            check_disjoint(
                named[one],
                named[other],
                where=f"{self.items_index(other)}: leak into {self.items_index(source).name}",
            )
        return splits, held_out

    def check_unseen(self, fact: str, dim: int) -> None:
        """Refuse factors that have seen a test item; older folders, which do not list the items, are taken as they are.

        Raises:
            DataError: names the list of factorised items and one that is in the test set.
        """
        path = self.factors_index(fact, dim)
        if path.is_file():
            check_disjoint(read_ids(path), self.items("test"), where=f"{path}: leak of {self.items_index('test').name}")

    def _first(self, *names: str) -> Path:
        return next((self.root / name for name in names if (self.root / name).is_dir()), self.root / names[0])

    def _factors(self, name: str) -> Path:
        """Older folders keep factors beside the splits."""
        older = self.splits / name
        return older if older.is_file() and not (self.factors / name).is_file() else self.factors / name


def check_disjoint(seen: Iterable[str], held_out: Iterable[str], *, where: str) -> None:
    """Refuse a leak: an item of the test set that training, or a factorisation, has seen.

    Args:
        seen: Ids that were learned from.
        held_out: Ids that must not be among them.
        where: Start of the message: the file and what is wrong with it.

    Raises:
        DataError: names the first shared id and how many there are.
    """
    seen = set(seen)
    shared = [item for item in held_out if item in seen]
    if shared:
        raise DataError(
            f"{where}: item {shared[0]!r} is in both ({len(shared)} such items); hold out unseen items only"
        )


def _joined(*parts) -> str:
    return "_".join(str(part) for part in parts if part is not None)


def _read_text(path: Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({error})") from None
