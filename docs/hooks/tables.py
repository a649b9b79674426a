"""Tables of Markdown for the generated pages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from source_index import DataClass, Field, classes

RULES = {
    "PositiveFloat": "float > 0",
    "NonNegativeFloat": "float >= 0",
    "PositiveInt": "int > 0",
    "NonNegativeInt": "int >= 0",
    "PositiveInts": "int > 0, ...",
    "Fraction": "float, 0 < x <= 1",
    "FractionBelowOne": "float, 0 <= x < 1",
    "Probability": "float, 0 <= x <= 1",
}
OTHER_PAGES = ("Options", "Arguments")  # command line and launch arguments have pages of their own


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; a bar or a line break in a cell is escaped."""
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    for row in rows:
        cells = [" ".join(cell.split()).replace("|", "\\|") for cell in row]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def stacked(text: str) -> str:
    """Return a table whose cells stand below each other on a phone."""
    return f'<div class="stacked" markdown>\n\n{text}\n\n</div>\n'


def code(text: str) -> str:
    """Return a text as code."""
    return f"`{text}`" if text else ""


def field_table(fields: Iterable[Field]) -> str:
    """Return a table of fields with their type, default and meaning."""
    rows = (
        (
            code(f.name),
            _linked_type(f.type),
            code(f.default or ""),
            text_cell(f.description) + (" **Reconfigurable.**" if f.is_reconfigurable else ""),
        )
        for f in fields
    )
    return stacked(table(("field", "type", "default", "meaning"), rows))


def class_section(item: DataClass, level: int = 3) -> str:
    """Return the section of a dataclass."""
    heading = f"{'#' * level} {item.name}"
    where = f"`invdyn_ros.{item.module}`"
    return f"{heading}\n\n{text_cell(item.summary)} {where}\n\n{field_table(item.fields)}\n"


def is_config(item: DataClass) -> bool:
    """Return whether a dataclass holds settings, which the page of the configuration lists."""
    if item.name.endswith(OTHER_PAGES):
        return False
    named = item.name.endswith("Config") or "Validated" in item.bases
    is_arm = item.module == "robots.robot_spec"
    bases = [classes()[base] for base in item.bases if base in classes()]
    return named or is_arm or any(map(is_config, bases))


def text_cell(text: str) -> str:
    """Return a description with what Markdown would take for HTML escaped."""
    return text.replace("<", "&lt;").replace("*", "\\*")


def _linked_type(text: str) -> str:
    """Return a type, with a link if it is a dataclass of its own."""
    if text in classes() and is_config(classes()[text]):
        return f"[`{text}`](configuration.md#{text.lower()})"
    return code(plain_type(text))


def plain_type(text: str) -> str:
    """Return a type with its rule as a reader writes it: PositiveFloat is `float > 0`."""
    for name, rule in RULES.items():
        text = re.sub(rf"\b{name}\b", rule, text)
    return text
