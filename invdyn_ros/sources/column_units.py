"""Units in the names of columns, as in `q1 [deg]`, `tau_1 (Nm)` and `time_ms`."""

from __future__ import annotations

import math
import re
from typing import NamedTuple


class ColumnUnit(NamedTuple):
    """A unit of a file and its factor to the SI unit of its dimension."""

    dimension: str
    """Such as "s", "rad", "rad/s", "N m" or "A"."""
    factor: float


_BASES = {
    "s": ("s", 1.0),
    "rad": ("rad", 1.0),
    "deg": ("rad", math.pi / 180),
    "m": ("m", 1.0),
    "nm": ("N m", 1.0),
    "n": ("N", 1.0),
    "a": ("A", 1.0),
}
_SPELLINGS = {
    "degrees": "deg",
    "degree": "deg",
    "°": "deg",
    "radians": "rad",
    "radian": "rad",
    "sec": "s",
    "secs": "s",
    "second": "s",
    "seconds": "s",
    "amps": "a",
    "ampere": "a",
    "newtonmeter": "nm",
}
_PREFIXES = {"m": 1e-3, "u": 1e-6, "n": 1e-9, "c": 1e-2, "k": 1e3}
_RATES = {"s": "/s", "s2": "/s^2", "s^2": "/s^2", "s²": "/s^2"}
# units that a name may end with; others, such as _m and _a, are parts of names
_SUFFIXES = ("deg", "degrees", "rad", "nm", "ms", "us", "ns", "sec", "s")
_BRACKETS = re.compile(r"(.*[^\s])(\s*)[\[(]([^\])]*[^\])\d\s][^\])]*)[\])]")


def parse_unit(text: str) -> ColumnUnit | None:
    """Return the unit of a text such as "deg/s" or "N·m", None if there is none of that name."""
    word, _, per = re.sub(r"[\s·*.]", "", text.strip()).replace("µ", "u").partition("/")
    if per and per.lower() not in _RATES:
        return None
    exact, word = word, word.lower()
    # mNm and Nmm are 1e-3 N m, while nm would be 1e-9 m, which no arm is measured in
    factor = 1.0
    if word == "nmm":
        factor, word = 1e-3, "nm"
    word = _SPELLINGS.get(word, word)
    if word not in _BASES and exact[:1] in _PREFIXES:
        inner = _SPELLINGS.get(word[1:], word[1:])
        factor, word = _PREFIXES[exact[0]], inner
    if word not in _BASES:
        return None
    dimension, scale = _BASES[word]
    return ColumnUnit(dimension + _RATES.get(per.lower(), ""), factor * scale)


def without_unit(name: str) -> str:
    """Return the name of a column without a unit in brackets."""
    match = _BRACKETS.fullmatch(name.strip())
    return match[1] if match and parse_unit(match[3]) else name.strip()


def unit_of(name: str, dimension: str) -> ColumnUnit | None:
    """Return the unit in the name of a column, None if there is none.

    Args:
        name: of the column, as "q1 [deg]" or "q1_deg".
        dimension: expected dimension; a suffix of another one is part of the name, as in "q_s".

    Raises:
        ValueError: a unit in square brackets is not known.
    """
    match = _BRACKETS.fullmatch(name.strip())
    if match is not None:
        unit = parse_unit(match[3])
        if unit is None and match[2] and "[" in name:
            raise ValueError(
                f"column '{name}' is in '{match[3]}', which is no known unit; convert it to "
                f"{dimension} and rename it"
            )
        return unit
    stem, mark, suffix = name.strip().rpartition("_")
    unit = parse_unit(suffix) if mark and stem and suffix.lower() in _SUFFIXES else None
    return unit if unit is not None and unit.dimension == dimension else None
