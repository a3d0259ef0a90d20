"""orpheus.base.schema: the first thing that is wrong, with file, key, value and rule."""

from typing import Annotated

import pytest
from pydantic import Field, TypeAdapter

from orpheus.base.schema import Schema, check
from orpheus.errors import DataError


class Thing(Schema):
    name: str
    sizes: list[Annotated[int, Field(ge=0)]] | None = None


def test_what_fits_is_returned():
    thing = check(Thing, {"name": "a", "sizes": [1, 2], "more": None}, "x.json")
    assert thing.name == "a" and thing.sizes == [1, 2]
    assert check(TypeAdapter(dict[str, float]), {"a": 1, "b": 0.5}, "x.json") == {"a": 1, "b": 0.5}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, r"^x\.json: no key 'name'; was the file changed"),
        ({"name": 5}, r"^x\.json: 'name' is 5; it should be a valid string"),
        ({"name": "a", "sizes": [1, True]}, r"'sizes\.1' is True; it should be a valid integer"),
        ({"name": "a", "sizes": ["1"]}, r"'sizes\.0' is '1'"),
        ({"name": "a", "sizes": [-1]}, r"'sizes\.0' is -1; it should be greater than or equal to 0"),
        ([], r"^x\.json: it holds something else"),
        ({"name": ["x" * 10_000]}, r"'name' is \['xx+ … x+'\]; it should"),
    ],
)
def test_what_does_not_is_named(value, message):
    with pytest.raises(DataError, match=message) as caught:
        check(Thing, value, "x.json")
    assert len(str(caught.value)) < 200
