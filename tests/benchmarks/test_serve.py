"""benchmarks.serve: its index is one that is searched, and a tiny run says what was measured."""

import pytest

from benchmarks import serve
from orpheus.tasks.search.song_index import SongIndex


def test_the_index_is_searched_by_tags(tmp_path):
    serve.make_index(tmp_path / "songs", 600)
    index = SongIndex(tmp_path / "songs")
    assert len(index) == 600 and len(index.words("tag-", 1000)) == serve.TAGS
    hits = index.search("tag-7", 5)
    assert len(hits) == 5 and hits[0].score > hits[-1].score


@pytest.mark.slow
def test_a_tiny_run():
    options = "--songs 600 --clients 2 --seconds 0.5 --rounds 1 --filters 1 --requests 40 --file-seconds 2"
    searches, files, memory = serve.measure(serve.parser().parse_args(options.split()))
    assert (searches.unit, files.unit, memory.unit) == ("searches/s", "files tagged/s", "MB")
    assert all(value > 0 for row in (searches, files, memory) for value in row.values)
    assert "99 % within" in searches.note and "of the model's own" in files.note and len(memory.values) == 3
