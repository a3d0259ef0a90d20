"""tools.train_word_vectors, tools.cooccurrence and tools.project_embeddings end to end."""

import numpy as np
import pytest

from orpheus.data.tags.database import TagDatabase
from orpheus.semantics import dictionary, genres, words
from tools import cooccurrence, project_embeddings, train_word_vectors


@pytest.fixture
def source(tmp_path):
    """Tags of three groups that share no track, `hard rock` as a tag of two words."""
    groups = (["rock", "hard rock", "guitar"], ["jazz", "bebop", "sax"], ["techno", "house", "club"])
    rng = np.random.default_rng(0)
    rows = []
    for i in range(600):
        group = groups[rng.integers(3)]
        rows += [(f"t{i}", group[j], 100) for j in rng.choice(3, 2, replace=False)]
    TagDatabase.write(tmp_path / "tags.db", rows)
    mapping = {tag: cluster for cluster, group in zip((2, 5, 7), groups, strict=True) for tag in group}
    dictionary.Dictionary(mapping, dict(TagDatabase(tmp_path / "tags.db").popularity())).save(tmp_path / "d.json")
    return tmp_path


def run(tool, *arguments):
    return tool.main(list(map(str, arguments)))


@pytest.mark.parametrize("name", ["v.txt", "v.bin"])
def test_trained_vectors_bring_tags_that_meet_together(source, name, capsys):
    flags = ["--tags", source / "tags.db", "--dimension", 12, "--epochs", 40, "--sample", 0]
    assert run(train_word_vectors, *flags, "--out", source / name) == 0
    vectors = words.load(source / name, kind="word2vec")
    assert "hard_rock" in vectors and "hard" in vectors and vectors.dimension == 12
    table = words.similarity(["Rock", "guitar", "hard-rock", "jazz", "house"], vectors)
    assert table[0, 1:3].min() > table[0, 3:].max()
    assert "10 words of 12 dimensions, from 600 sentences" in capsys.readouterr().out
    assert run(train_word_vectors, *flags, "--out", source / f"again.{name}") == 0
    assert (source / f"again.{name}").read_bytes() == (source / name).read_bytes()


def test_texts_and_bad_input_of_training(source, capsys):
    (source / "corpus.txt").write_text("Rock and Roll is loud music\n" * 30 + "Jazz is quiet music\n" * 30)
    assert run(train_word_vectors, "--texts", source / "corpus.txt", "--out", source / "t.txt", "--epochs", 2) == 0
    assert {"rock", "and", "roll", "jazz"} <= set(words.load(source / "t.txt").names)
    for flags, message in [
        (["--out", "x.txt"], "give either --tags or --texts"),
        (["--texts", source / "none.txt", "--out", "x.txt"], "none.txt: no such file"),
        (["--texts", source / "corpus.txt", "--out", "x.txt", "--dimension", 0], "--dimension 0: must be at least 1"),
        (["--texts", source / "corpus.txt", "--out", "x.txt", "--min-count", 999], "lower --min-count"),
    ]:
        assert run(train_word_vectors, *flags) == 2
        assert message in capsys.readouterr().err


def test_cooccurrence_of_tags(source):
    out = source / "out"
    assert run(cooccurrence, "--tags", source / "tags.db", "--out", out) == 0
    matrix = np.load(out / "cooccurrence.npy")
    labels = [line.split("\t") for line in (out / "labels.tsv").read_text().splitlines()[1:]]
    lists = TagDatabase(source / "tags.db").tags_of_all().values()
    for i, (position, a, count) in enumerate(labels):
        assert int(position) == i and int(count) == matrix[i, i]
        for j, (_, b, _) in enumerate(labels):
            assert matrix[i, j] == sum(a in tags and b in tags for tags in lists)
    assert (out / "heatmap.png").read_bytes().startswith(b"\x89PNG") and not (out / "genres.txt").exists()
    from scipy import sparse

    assert run(cooccurrence, "--tags", source / "tags.db", "--out", out, "--sparse", "--shown", 0, "--top", 4) == 0
    np.testing.assert_array_equal(sparse.load_npz(out / "cooccurrence.npz").toarray(), matrix[:4, :4])


def test_cooccurrence_of_clusters_drafts_genres(source):
    rows = [*TagDatabase(source / "tags.db").rows()]
    rows += [(tid, "metal", 100) for tid, tag, _ in rows if tag == "rock"]
    TagDatabase.write(source / "more.db", rows)
    mapping = dict(dictionary.load(source / "d.json").tag_to_cluster) | {"metal": 11, "unseen": 12}
    dictionary.Dictionary(mapping).save(source / "e.json")
    out = source / "out"
    assert (
        run(cooccurrence, "--tags", source / "more.db", "--dictionary", source / "e.json", "--out", out, "--shown", 3)
        == 0
    )
    assert np.load(out / "cooccurrence.npy").shape == (5, 5)
    drafted = genres.read(out)
    assert set(drafted.genres) >= {0, 3} and drafted.merge == ((0, 3),)
    dictionary.load(source / "e.json").restrict(drafted.genres, drafted.merge)
    pairs = (out / "pairs.tsv").read_text().splitlines()
    assert len(pairs) == 2 and pairs[1].split("\t")[1] == "metal" and pairs[1].split("\t")[3] == "1.0000"


def test_bad_input_of_cooccurrence(source, capsys):
    base = ["--tags", source / "tags.db", "--out", source / "o"]
    dictionary.Dictionary({"polka": 0}).save(source / "polka.json")
    for flags, message in [
        (["--cosine", 2], "expected 0 ≤ C < 1"),
        (["--top", 0], "--top 0"),
        (["--dictionary", source / "polka.json"], "none of its 1 tags is on a track"),
    ]:
        assert run(cooccurrence, *base, *flags) == 2
        assert message in capsys.readouterr().err


def test_projector_files_are_what_tensorboard_reads(source):
    rng = np.random.default_rng(0)
    tags = ["rock", "hard_rock", "guitar", "jazz", "bebop", "sax", "techno", "house"]
    table = {tag: rng.normal(size=4) for tag in tags}
    (source / "v.txt").write_text("".join(f"{t} {' '.join(map(str, row))}\n" for t, row in table.items()))
    flags = ["--dictionary", source / "d.json", "--embedding", "glove", source / "v.txt", "--out", source / "p"]
    assert run(project_embeddings, *flags) == 0
    rows = [line.split("\t") for line in (source / "p/metadata.tsv").read_text().splitlines()]
    assert rows[0] == ["tag", "count", "cluster", "cluster_name"] and len(rows) == 9
    matrix = np.loadtxt(source / "p/vectors.tsv")
    counts = dict(TagDatabase(source / "tags.db").popularity())
    for (tag, count, cluster, name), row in zip(rows[1:], matrix, strict=True):
        vector = table[tag.replace(" ", "_")]
        np.testing.assert_allclose(row, vector / np.linalg.norm(vector), atol=1e-5)
        assert int(count) == counts[tag] and tag in name and cluster in "012"
    text_format = pytest.importorskip("google.protobuf.text_format")
    config_pb2 = pytest.importorskip("tensorboard.plugins.projector.projector_config_pb2")
    config = text_format.Parse((source / "p/projector_config.pbtxt").read_text(), config_pb2.ProjectorConfig())
    assert (config.embeddings[0].tensor_path, config.embeddings[0].metadata_path) == ("vectors.tsv", "metadata.tsv")


def test_pictures_per_genre(source, capsys):
    rng = np.random.default_rng(0)
    rows = [(f"t{i}", f"{g}{c}{n}", 1) for i in range(200) for g in "ab" for c in [rng.integers(2)] for n in range(3)]
    TagDatabase.write(source / "sub.db", [row for row in rows if rng.random() < 0.6])
    mapping = {f"{g}{c}{n}": 2 * (g == "b") + c for g in "ab" for c in range(2) for n in range(3)}
    scores = {"genres": {"alpha": {"clusters": [0, 1]}, "beta": {"clusters": [2, 3]}}}
    dictionary.Dictionary(mapping, scores=scores).save(source / "sub.json")
    flags = ["--dictionary", source / "sub.json", "--tags", source / "sub.db", "--pictures", "--out", source / "p"]
    assert run(project_embeddings, *flags) == 0
    names = {f"{kind}_{genre}.png" for kind in ("silhouette", "tsne") for genre in ("alpha", "beta")}
    assert {p.name for p in (source / "p").iterdir()} == names
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["alpha", "beta"] and float(lines[0].split()[-1]) > 0.3


def test_bad_input_of_project_embeddings(source, capsys):
    for flags, message in [
        ([], "nothing to show"),
        (["--tags", source / "tags.db"], "no vectors to show"),
        (["--tags", source / "tags.db", "--pictures"], "give --dictionary"),
        (["--dictionary", source / "d.json", "--pictures"], "needs distances"),
    ]:
        assert run(project_embeddings, *flags, "--out", source / "o") == 2
        assert message in capsys.readouterr().err
