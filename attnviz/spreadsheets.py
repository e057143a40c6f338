"""Tables as CSV in which no text is a formula for a spreadsheet."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

__all__ = ["as_csv"]

FORMULA = re.compile(r"[=+\-@\t\n|＝＋－＠]")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)


def as_csv(table: pd.DataFrame, *, index: bool = False, float_format: str | None = None) -> str:
    """Return a table as CSV; a text that a spreadsheet would compute gets an apostrophe before it.

    That holds for cells, for names of columns and for the index: tokens and names of models can be
    any text. Numbers are not changed.
    """
    escaped = table.copy()
    for at in range(table.shape[1]):  # by position: two tokens may have one name
        if not pd.api.types.is_numeric_dtype(table.dtypes.iloc[at]):
            escaped.isetitem(at, table.iloc[:, at].map(_inert).array)
    escaped.columns = pd.Index([_inert(name) for name in table.columns], dtype=object)
    escaped.index = pd.Index([_inert(name) for name in table.index], dtype=object)
    escaped.index.name = _inert(table.index.name)
    written: str = escaped.to_csv(index=index, float_format=float_format)
    return written


def _inert(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = value.replace("\r", "␍")  # a lone one would begin a row: it is written unquoted
    return f"'{text}" if FORMULA.match(text) and not NUMBER.fullmatch(text) else text
