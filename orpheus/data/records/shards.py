"""Names of shards, and the shards of each split."""

from collections.abc import Sequence

import numpy as np

from orpheus.data.records.format import SUFFIX
from orpheus.errors import ConfigError


def split_shards(
    shards: Sequence[str], split: Sequence[float], *, key: str = "model-training.split"
) -> tuple[tuple[str, ...], ...]:
    """Deal shards to training, validation and test.

    Shards named train-…, valid-… and test-… (tools.preprocess --split) keep their part. Otherwise `split` counts
    shards, or per cent of them when it adds up to 100; every part that asks for more than nothing gets a shard. Their
    order is that of their names: which tracks are in which shard was already drawn by seed when they were made.

    Args:
        shards: Their names, sorted.
        split: Training, validation and, unless left out, test.
        key: What messages call `split`.

    Returns:
        Three tuples of names; the last is empty where `split` has two numbers.

    Raises:
        ConfigError: more shards asked for than there are.
    """
    parts = ("train", "valid", "test")
    named = tuple(tuple(s for s in shards if s.startswith(part)) for part in parts)
    if named[0] and sum(map(len, named)) == len(shards):
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
    """Names of shards, in order: FORMAT-00000-of-00010.tfrecord, or PART-FORMAT-… with a split."""
    names = [f"{format}-{index:05d}-of-{n_files:05d}{SUFFIX}" for index in range(n_files)]
    if split is None:
        return names
    if abs(sum(split) - 100) > 1e-6 or min(split) < 0 or not split[0]:
        raise ConfigError(f"--split={list(split)}: give per cent of train, valid and test that add up to 100")
    parts = split_shards(names, split, key="--split")
    return [f"{part}-{name}" for part, shards in zip(("train", "valid", "test"), parts, strict=True) for name in shards]
