"""Listening counts: reading, filtering by hand tables, and what a cold-start split must keep."""

import numpy as np
import pytest

from orpheus.data.items import interactions
from orpheus.data.items.interactions import Interactions
from orpheus.errors import ConfigError, DataError

TRIPLES = [("u", "a", 3), ("u", "b", 1), ("v", "a", 2), ("w", "a", 1), ("w", "c", 5), ("u", "a", 4)]


def popular(items=200, users=300, seed=0):
    """Items whose number of listeners falls from many to few, as in real data."""
    rng = np.random.default_rng(seed)
    return Interactions.from_triples(
        (f"u{user}", f"i{item}", 1 + rng.poisson(5))
        for item in range(items)
        for user in rng.choice(users, size=max(1, users // (item + 2)), replace=False)
    )


def test_counts_of_a_pair_add_up():
    data = Interactions.from_triples(TRIPLES)
    assert data.users == ("u", "v", "w") and data.items == ("a", "b", "c")
    np.testing.assert_array_equal(data.counts.toarray(), [[7, 1, 0], [2, 0, 0], [1, 0, 5]])
    np.testing.assert_array_equal(data.listeners, [3, 1, 1])


@pytest.mark.parametrize(
    ("name", "separator", "head"), [("c.tsv", "\t", ""), ("c.tsv", "\t", "user\titem\tn\n"), ("c.csv", ",", "")]
)
def test_reading(tmp_path, name, separator, head):
    path = tmp_path / name
    path.write_text(head + "".join(separator.join(map(str, row)) + "\n" for row in TRIPLES))
    np.testing.assert_array_equal(interactions.read(path).counts.toarray(), [[7, 1, 0], [2, 0, 0], [1, 0, 5]])


def test_quotes_are_plain_in_tsv_and_not_in_csv(tmp_path):
    (tmp_path / "a.tsv").write_text('u\t"Weird Al\t2\n')
    assert interactions.read(tmp_path / "a.tsv").items == ('"Weird Al',)
    (tmp_path / "a.csv").write_text('u,"Earth, Wind",2\n')
    assert interactions.read(tmp_path / "a.csv").items == ("Earth, Wind",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("u\ta\t1\nu\tb\t-1\n", ":2: count '-1' of user 'u', item 'b'"),
        ("u\ta\t1\nu\tb\tnan\n", ":2: count 'nan'"),
        ("u\ta\t0\n", ":1: count '0'"),
        ("u\ta\n", ":1: 2 columns"),
        ("user\titem\tn\n", "no counts"),
        ("", "no counts"),
    ],
)
def test_bad_lines_are_named(tmp_path, text, message):
    (tmp_path / "c.tsv").write_text(text)
    with pytest.raises(DataError, match=f"c.tsv.*{message}"):
        interactions.read(tmp_path / "c.tsv")


def test_filter_repeats_until_both_hold():
    # c leaves with one listener; then w has one item left and leaves; then b has one listener and leaves
    triples = [("u", "a", 1), ("u", "d", 1), ("v", "a", 1), ("v", "d", 1), ("w", "b", 1), ("w", "c", 1), ("v", "b", 1)]
    kept = Interactions.from_triples(triples).filter(min_listeners=2, min_items=2)
    assert kept.users == ("u", "v") and kept.items == ("a", "d")
    with pytest.raises(DataError, match="nobody is left with min_listeners=9"):
        kept.filter(min_listeners=9)


def test_select_orders_and_names_unknown_ids():
    data = Interactions.from_triples(TRIPLES).select(users=["w", "u"], items=["c", "a"])
    np.testing.assert_array_equal(data.counts.toarray(), [[5, 1], [0, 7]])
    with pytest.raises(DataError, match="no item 'x'"):
        data.select(items=["x"])


def test_cold_start_split_holds_out_whole_items_of_every_popularity():
    data = popular()
    kept, held = data.cold_start_split(0.1, seed=1)
    assert len(held) == 20 and not set(kept) & set(held) and set(kept) | set(held) == set(data.items)
    listeners = dict(zip(data.items, data.listeners, strict=True))
    ranks = np.sort([sorted(data.items, key=lambda item: -listeners[item]).index(item) for item in held])
    np.testing.assert_array_less(np.abs(ranks - np.arange(5, 200, 10)), 20)  # one of each layer of ten, ties aside
    assert data.cold_start_split(0.1, seed=1) == (kept, held)
    assert data.cold_start_split(0.1, seed=2)[1] != held


def test_cold_start_split_keeps_items_nobody_heard():
    data = popular(items=20)
    counts = data.counts.tolil()
    counts[:, 10:] = 0
    silent = Interactions(counts.tocsr(), data.users, data.items)
    silent.counts.eliminate_zeros()
    for seed in range(5):
        assert set(silent.cold_start_split(0.3, seed=seed)[1]) < set(data.items[:10])


def test_cold_start_split_holds_out_whole_groups():
    data = popular(items=60)
    groups = {item: f"artist{number // 3}" for number, item in enumerate(data.items)}
    kept, held = data.cold_start_split(0.2, seed=0, groups=groups)
    assert not {groups[item] for item in kept} & {groups[item] for item in held}
    assert len(held) == 12  # 4 of 20 artists, three tracks each
    with pytest.raises(DataError, match="item 'i0' has no group"):
        data.cold_start_split(0.2, groups={})


def test_bad_splits_are_refused():
    with pytest.raises(ConfigError, match="share=1"):
        popular(items=5).cold_start_split(1)
    with pytest.raises(DataError, match=r"1 item\(s\) with listeners cannot be split"):
        popular(items=1).cold_start_split(0.5)
    with pytest.raises(DataError, match="interactions: counts of shape"):
        Interactions(popular(items=5).counts, ("u",), ("a",))
