"""orpheus.data.tags.spelling: which spellings are one tag, against a hand-made table."""

import pytest

from orpheus.base.same_words import SAME_WORDS
from orpheus.data.tags.spelling import spelling_key
from orpheus.semantics.words import tokens

DECADES = ("twenties", "thirties", "forties", "fifties", "sixties", "seventies", "eighties", "nineties")
SAME = [
    ["hip-hop", "Hip Hop", "hiphop", "hip_hop", "hip hops"],
    ["R&B", "rnb", "Rhythm & Blues", "r and b", "r n b", "R'n'B", "r & b"],
    ["rock and roll", "Rock & Roll", "rock 'n' roll", "rock’n’roll", "rocknroll"],
    ["80s pop", "1980s-pop", "eighties pop", "80´s pop"],
    ["00s", "2000s", "noughties"],
    *(
        [f"{digits}0s", f"{digits}0's", f"19{digits}0s", f"19{digits}0's", word]
        for digits, word in enumerate(DECADES, 2)
    ),
    ["!!!", " !!! ", "\uff01\uff01\uff01"],
    ["10s", "2010s"],
    ["dnb", "Drum & Bass", "drum'n'bass", "drum and bass", "drumnbass", "Drum n' Bass"],
    ["liquid dnb", "liquid drum and bass"],
    ["Björk", "bjo\u0308rk"],
    ["favourite", "favourites"],
]
DIFFERENT = [
    "80",
    "80s",
    "1980",
    "1880s",
    "2080s",
    "bass",
    "band",
    "sand",
    "s",
    "n",
    "björk",
    "bjork",
    "!!!",
    "???",
    "日本",
    "日",
    "90s",
]


@pytest.mark.parametrize("spellings", SAME, ids=lambda spellings: spellings[0])
def test_spellings_of_one_tag_share_a_key(spellings):
    assert len({spelling_key(tag) for tag in spellings}) == 1


def test_different_tags_have_different_keys():
    assert len({spelling_key(tag) for tag in DIFFERENT}) == len(DIFFERENT)
    firsts = {spelling_key(spellings[0]) for spellings in SAME}
    assert len(firsts) == len(SAME)


@pytest.mark.parametrize("spellings", SAME_WORDS, ids=lambda spellings: spellings[0])
def test_word_vectors_have_the_same_notion(spellings):
    assert len({spelling_key(tag) for tag in spellings}) == len({tokens(tag) for tag in spellings}) == 1
