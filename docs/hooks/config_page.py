"""Page of every configuration dataclass."""

from __future__ import annotations

import ast

from source_index import DataClass, classes, trees
from tables import class_section, is_config

TITLE = """# Configuration

Every setting is a field of a frozen dataclass. The same dataclass is filled from a YAML file
(`config/`), from the command line (`--field value`) and from ROS parameters, and it is stored in
the checkpoint. A value that a field does not allow is refused in one line.
"""


def documented_classes() -> list[DataClass]:
    """Return the dataclasses that a user can set."""
    return [c for c in classes().values() if is_config(c)]


def config_page() -> str:
    """Return the page as Markdown."""
    sections: dict[str, list[DataClass]] = {}
    for item in documented_classes():
        sections.setdefault(item.module.split(".")[0], []).append(item)
    parts = [TITLE]
    for package, items in sections.items():
        parts.append(f"## {package}\n\n{_package_summary(package)}\n")
        parts += [class_section(item) for item in items]
    return "\n".join(parts)


def _package_summary(package: str) -> str:
    tree = trees().get(f"{package}.__init__")
    text = ast.get_docstring(tree) if tree else ""
    return " ".join((text or "").split("\n\n")[0].split())
