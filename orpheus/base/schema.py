"""What a JSON file of the project may hold, as pydantic models, and one line about the first thing that is wrong."""

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from orpheus.errors import DataError, one_line

T = TypeVar("T")
_SHOWN = 60  # characters of a wrong value


class Schema(BaseModel):
    """A JSON object. Nothing is converted: ``"5"`` is no number and ``true`` is none either; other keys are let be."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


def check(kind: type[T] | TypeAdapter[T], value: Any, source: object) -> T:
    """The value as `kind`.

    Args:
        kind: A `Schema`, or a type that pydantic knows.
        value: From `files.parse_json`.
        source: The file, for the message.

    Raises:
        DataError: names the file, the key with its path, the value and the rule.
    """
    try:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind.model_validate(value)
        return (kind if isinstance(kind, TypeAdapter) else TypeAdapter(kind)).validate_python(value, strict=True)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False)[0]
        key = ".".join(map(str, problem["loc"]))
        if problem["type"] == "missing":
            raise DataError(f"{source}: no key {key!r}; was the file changed, or made by an older orpheus?") from None
        found = f" {key!r} is {one_line(repr(problem['input']), _SHOWN)}" if key else " it holds something else"
        rule = problem["msg"].removeprefix("Value error, ").replace("Input should be", "it should be")
        raise DataError(f"{source}:{found}; {rule[:1].lower()}{rule[1:]}") from None
