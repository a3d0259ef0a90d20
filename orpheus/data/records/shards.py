"""Names of shards, and the shards of each split."""

import re
from collections.abc import Sequence

import numpy as np

from orpheus.data.records.format import SUFFIX
from orpheus.errors import ConfigError

SPLITS = ("train", "valid", "test")
_NAMED = re.compile(r"(?:^|[-_.])(train|valid|test)(?:ing|ation)?(?=[-_.])")


def split_of(shard: str) -> str:
    """The split that a shard's name says: ``train-x.tfrecord``, or ``waveform_train_x.tfrecord``; "" where it says none.

    >>> split_of("log-mel-spectrogram_valid.tfrecord"), split_of("waveform-00001-of-00010.tfrecord")
    ('valid', '')
    """
    found = set(_NAMED.findall(shard))
    return found.pop() if len(found) == 1 else ""


def split_shards(
    shards: Sequence[str], split: Sequence[float], *, key: str = "model-training.split"
) -> tuple[tuple[str, ...], ...]:
    """Assign shards to training, validation and test.

    Shards named train-…, valid-… and test-… (tools.preprocess --split), or FORMAT_train… (the reference's three files),
    keep their split. Otherwise `split` counts
    shards, or per cent of them when it adds up to 100; every split that asks for more than nothing gets a shard. Their
    order is that of their names: which tracks are in which shard was already drawn by seed when they were made.

    Args:
        shards: Their names, sorted.
        split: Training, validation and, unless left out, test.
        key: What messages call `split`.

    Returns:
        Three tuples of names; the last is empty where `split` has two numbers.

    Raises:
        ConfigError: more shards asked for than there are, or names of which some only say a split.
    """
    named = tuple(tuple(shard for shard in shards if split_of(shard) == name) for name in SPLITS)
    if any(named):
        if rest := [shard for shard in shards if not split_of(shard)]:
            said = next(shards for shards in named if shards)[0]
            raise ConfigError(f"{rest[0]}: its name says no split, and {said} does; name all shards alike, or none")
        if not named[0]:
            raise ConfigError(f"{shards[0]}: no shard is named train…; give the folder of the training shards, too")
        return named
    wanted = [*split, 0.0][:3]
    total, asked = len(shards), sum(wanted)
    per_cent = abs(asked - 100) < 1e-6
    if not per_cent and (asked > total or any(share != int(share) for share in wanted)):
        raise ConfigError(
            f"{key}={list(split)}: adds up to {asked:g}; give per cent that add up to 100, "
            f"or numbers of shards, of which there are {total}"
        )
    counts = [int(share) for share in wanted]
    if per_cent:
        counts = [max(1, int(share * total / 100 + 1e-9)) if share > 0 else 0 for share in wanted]
        counts[0] = total - counts[1] - counts[2]
        if counts[0] < 1:
            raise ConfigError(f"{key}={list(split)}: {total} shards are too few; make more with tools.preprocess -n")
    ends = np.cumsum(counts)
    return tuple(tuple(shards[end - count : end]) for end, count in zip(ends, counts, strict=True))


def shard_names(n_files: int, format: str, split: Sequence[float] | None) -> list[str]:
    """Names of shards, in order: FORMAT-00000-of-00010.tfrecord, or SPLIT-FORMAT-… with a split."""
    names = [f"{format}-{index:05d}-of-{n_files:05d}{SUFFIX}" for index in range(n_files)]
    if split is None:
        return names
    if abs(sum(split) - 100) > 1e-6 or min(split) < 0 or not split[0]:
        raise ConfigError(f"--split={list(split)}: give per cent of train, valid and test that add up to 100")
    by_split = split_shards(names, split, key="--split")
    return [f"{of}-{name}" for of, shards in zip(SPLITS, by_split, strict=True) for name in shards]


def shard_counts(tracks: Sequence[int], n_files: int) -> list[int]:
    """How many of `n_files` shards each split gets: by its share of the tracks, at least one where it has any.

    >>> shard_counts([800, 100, 100], 10), shard_counts([98, 1, 1], 5), shard_counts([50, 0, 50], 2)
    ([8, 1, 1], [3, 1, 1], [1, 0, 1])

    Raises:
        ConfigError: fewer shards than splits.
    """
    counts = [int(count > 0) for count in tracks]
    if n_files < sum(counts):
        raise ConfigError(f"--num-files {n_files}: the split file has {sum(counts)} splits, and each needs a shard")
    while sum(counts) < n_files:
        # One after the other to the split whose shards are largest now: none is left with much longer ones.
        loads = [count / shards if shards else 0.0 for count, shards in zip(tracks, counts, strict=True)]
        counts[int(np.argmax(loads))] += 1
    return counts
