"""Made-up listeners and artists, as a data folder whose answer is known: who likes a style hears its artists."""

import collections
import os
from pathlib import Path

import numpy as np
import scipy.sparse

from orpheus.base import files
from orpheus.data.items import hetrec, layout, tables, texts
from orpheus.data.items.interactions import Interactions
from orpheus.learning.vectors import factorisation

DATASET, DIM = "DEMO", 16
EXPERIMENT, SETTINGS = "music_recommender", ("bio", "audio-emb")
ALPHA, REGULARIZATION = 1.0, 3.0
# Scores are expected ones where outputs keep their length: what the features say little of gets a short vector.
OVERRIDES = (
    "output.l2=false",
    "model-training.loss=mean_squared_error",
    "inputs.biography.dense=[]",
    "inputs.biography.dropout=0",
)
STYLES = ("rock", "jazz", "folk", "house", "metal", "soul", "choral", "dub")


def write(
    root: str | os.PathLike,
    *,
    users: int = 400,
    artists: int = 600,
    seed: int = 0,
    alpha: float = ALPHA,
    regularization: float = REGULARIZATION,
) -> layout.DataFolder:
    """Write the folder: splits, counts, biographies, TF-IDF ``bio``, embeddings ``audio-emb``, ALS factors (also some
    that have seen the test artists, as ``als-seen``).

    A user likes two styles, an artist plays mostly one. Biographies speak of the style in words of its own among words
    that all share; audio embeddings are the styles' directions with noise. One tenth of the artists is held out.

    Args:
        root: Created when missing.
        users: Listeners.
        artists: Items.
        seed: Of everything.
        alpha: Of the factorisation's confidences; by default as held-out plays of the training items have it
            (benchmarks/listening_demo.py), which are few and do not want the usual 40.
        regularization: Of the factorisation, in the same way.

    Returns:
        The folder.
    """
    rng = np.random.default_rng(seed)
    folder = layout.DataFolder(Path(root).expanduser(), DATASET)
    plays = rng.dirichlet(np.full(len(STYLES), 0.15), artists)  # (artists, styles)
    likes = rng.dirichlet(np.full(len(STYLES), 0.25), users)  # (users, styles)
    fame = rng.gamma(1.0, size=artists)
    heard = rng.poisson(2 * (likes @ plays.T) ** 2 * fame)
    names = [f"{STYLES[int(row.argmax())]} artist {number}" for number, row in enumerate(plays)]
    pairs = zip(*np.nonzero(heard), strict=True)
    triples = [(f"user{u}", f"artist{a}", float(heard[u, a])) for u, a in pairs]
    words = {f"artist{a}": _biography(rng, row) for a, row in enumerate(plays)}
    made = hetrec.Hetrec(
        Interactions.from_triples(triples), {f"artist{a}": name for a, name in enumerate(names)}, words
    )
    hetrec.convert(made, folder, min_listeners=2, min_items=2, classes=len(STYLES), seed=seed)

    present = {subset: folder.items(subset) for subset in layout.SETS}
    read = texts.read_texts(folder, [item for ids in present.values() for item in ids])
    model = texts.Tfidf.fit([read[item] for item in present["train"]])
    model.save(folder.text_model("bio"))
    tables.save_sets(folder, "bio", {s: model.transform([read[i] for i in ids]) for s, ids in present.items()})
    directions = rng.normal(size=(len(STYLES), 64))
    sound = (plays @ directions + 0.5 * rng.normal(size=(artists, 64))).astype(np.float32)
    rows = {subset: [int(item.removeprefix("artist")) for item in ids] for subset, ids in present.items()}
    tables.save_sets(folder, "audio-emb", {subset: sound[chosen] for subset, chosen in rows.items()})

    counts = {subset: tables.counts(folder, subset).matrix for subset in layout.SETS}

    def confidence(*subsets: str) -> scipy.sparse.csr_matrix:
        """(items, users) confidences of sets."""
        whole = scipy.sparse.vstack([counts[subset] for subset in subsets]).tocsr()
        return factorisation.confidence(whole, alpha=alpha)

    def als(*subsets: str) -> factorisation.Factors:
        return factorisation.als(confidence(*subsets).T.tocsr(), DIM, regularization=regularization, seed=seed)

    result = als("train", "val")
    files.write_json(
        folder.factors_settings("als", DIM), {"weighting": "log", "alpha": alpha, "regularization": regularization}
    )
    layout.write_ids(folder.factors_index("als", DIM), [*present["train"], *present["val"]])
    tables.save_matrix(folder.item_factors("als", DIM), result.items)
    tables.save_matrix(folder.user_factors("als", DIM), result.others)
    first = len(present["train"])
    tables.save_matrix(folder.targets("train", "als", DIM), result.items[:first])
    tables.save_matrix(folder.targets("val", "als", DIM), result.items[first:])
    unheard = factorisation.fold_in(result.others, confidence("test"), regularization=regularization)
    tables.save_matrix(folder.targets("test", "als", DIM), unheard)
    seen = als(*layout.SETS)
    last = len(present["test"])
    tables.save_matrix(folder.item_factors("als-seen", DIM, "test"), seen.items[-last:])
    tables.save_matrix(folder.user_factors("als-seen", DIM), seen.others)
    return folder


def _biography(rng: np.random.Generator, plays: np.ndarray) -> collections.Counter:
    """Words of a biography: a third of them of the artist's styles, twenty for each, the others of everybody's."""
    words: collections.Counter = collections.Counter()
    for _ in range(60):
        if rng.random() < 1 / 3:
            words[f"{STYLES[int(rng.choice(len(STYLES), p=plays))]}{int(rng.integers(20))}"] += 1
        else:
            words[f"common{int(rng.integers(200))}"] += 1
    return words
