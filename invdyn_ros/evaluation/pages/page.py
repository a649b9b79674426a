"""Self-contained HTML pages, which load nothing from the network or from beside them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from invdyn_ros.data.atomic_file import write_atomically

ASSETS = files("invdyn_ros.evaluation.pages") / "assets"
CHART_SCRIPTS = ("chart.js", "line_chart.js", "bar_chart.js")
"""Scripts of `lineChart` and `barChart`."""


def read_asset(name: str) -> str:
    """Return the text of a template, style sheet or script of this package."""
    return (ASSETS / name).read_text(encoding="utf-8")


_templates = Environment(
    loader=FunctionLoader(read_asset),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render_page(
    title: str,
    template: str,
    values: dict[str, Any],
    *,
    data: Any = None,
    scripts: Sequence[str] = (),
    connect: bool = False,
) -> str:
    """Return the HTML of a page.

    Args:
        title: title of the page.
        template: name of the Jinja template of the page's body, which extends page.html.
        values: what the template uses.
        data: anything JSON can hold; `pageData` in the scripts, None if there is none.
        scripts: names of scripts, which run in this order.
        connect: whether the page may talk to the server it came from.
    """
    return _templates.get_template(template).render(
        **values,
        title=title,
        style=read_asset("style.css"),
        data=_script_json(data),
        scripts=[read_asset(name) for name in scripts],
        connect=connect,
    )


def write_page(path: Path, html: str) -> Path:
    """Write a page as a whole or not at all; return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, html.encode())
    return path


def _script_json(data: Any) -> str:
    """Return JSON that may stand in a script element, whatever the strings contain."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
