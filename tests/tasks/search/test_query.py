"""The query language: tags before words, phrases, minus, spellings, what is unknown."""

import pytest

from orpheus.errors import ConfigError
from orpheus.tasks.search.query import Query, QueryTerm, parse, spelled, split

TAGS = spelled(["sad", "Hip-Hop", "female vocalists", "rock and roll", "vocals", "sad songs", "sad piano music"])


def asked(text):
    return parse(text, tags=TAGS, knows=lambda term: "zz" not in term, examples=["sad", "rock"])


@pytest.mark.parametrize(
    ("text", "positive", "negative"),
    [
        ("sad", ["sad"], []),
        ("SAD piano Music", ["sad piano music"], []),  # the whole query is a tag
        ("sad piano", ["sad", "piano"], []),
        ("hip hop piano", ["Hip-Hop", "piano"], []),  # the tag's own spelling
        ("piano hiphop", ["piano", "Hip-Hop"], []),
        ("rock n roll piano", ["rock and roll", "piano"], []),
        ("female vocalists sad -piano", ["female vocalists", "sad"], ["piano"]),
        ("sad -vocals", ["sad"], ["vocals"]),
        ("-vocals", [], ["vocals"]),
        ('"sad piano" -"female vocalists"', ["sad piano"], ["female vocalists"]),
        ("“dream pop” sad sad", ["dream pop", "sad"], []),
        ('"dream pop', ["dream pop"], []),  # the quote is not closed
        ("piano and the strings", ["piano", "strings"], []),  # fillers
        ("post-punk", ["post-punk"], []),  # a minus within a word is none
    ],
)
def test_terms(text, positive, negative):
    query, unknown = asked(text)
    assert query == Query(tuple(positive), tuple(negative))
    assert unknown == []


def test_parts_as_typed():
    assert split('a -"b c" -d"e') == [
        QueryTerm("a"),
        QueryTerm("b c", True, True),
        QueryTerm("d", True),
        QueryTerm("e", phrase=True),
    ]
    assert str(Query(("a", "b"), ("c",))) == "a + b − c"


def test_unknown_terms_are_all_named():
    query, unknown = asked('zzy -zzx "zz top" sad !!!')
    assert query.positive == ("sad",)
    assert unknown == ["zzy", "zzx", "zz top", "!!!"]


@pytest.mark.parametrize("text", ["", "   ", '""', "and the", '"'])
def test_an_empty_query(text):
    with pytest.raises(ConfigError, match="is empty: give tags or words, for example rock, sad; -WORD"):
        asked(text)


def test_a_lone_minus():
    with pytest.raises(ConfigError, match="minus by itself: put it directly before"):
        asked("sad - vocals")
