"""What pydantic finds wrong with a document, as the one line that users read."""

from __future__ import annotations

from typing import Any, TypeVar

import pydantic

from .errors import InputError

Model = TypeVar("Model", bound=pydantic.BaseModel)

LONGEST_VALUE = 60
"""Characters of an offending value that a message repeats."""


def validate(model: type[Model], document: Any, where: str) -> Model:
    """The document as a ``model``.

    Raises
    ------
    InputError : ``where: field: expected ..., found ...`` for the first rule that the document breaks
    """
    try:
        return model.model_validate(document)
    except pydantic.ValidationError as error:
        raise InputError(f"{where}: {_line(error)}") from None


def shown(value: Any) -> str:
    """A value as a message shows it: on one line, cut when long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, or lists without end
        text = f"{type(value).__name__} too long to show"
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def _line(error: pydantic.ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    field = ""
    for part in first["loc"]:
        field += f"[{part}]" if isinstance(part, int) else f".{part}" if field else str(part)
    field = field or "document"
    if first["type"] == "extra_forbidden":
        return f"{field}: expected no such field, found {shown(first['input'])}"
    if first["type"] == "missing":
        return f"{field}: expected a value, found none"
    rule = first["msg"].removeprefix("Value error, ")
    for opening in ("Input should be ", "Input should "):
        rule = rule.removeprefix(opening)
    return f"{field}: expected {rule}, found {shown(first['input'])}"
