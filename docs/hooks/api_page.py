"""Page of the Python interface: what `examples/` use, and the interfaces to extend."""

from __future__ import annotations

import ast

from docstring_parser import parse
from source_index import ROOT, trees
from tables import text_cell

TITLE = """# Python interface

`import invdyn_ros` has the names below; they follow semantic versioning, other modules may change.
The examples run as they are, and tests run them.
"""
EXTENDING = ("models.inverse_dynamics.InverseDynamics", "sources.source.Source")
"""Base classes of model families and sources, by their path below invdyn_ros."""


def api_page() -> str:
    """Return the page as Markdown."""
    parts = [TITLE, "## Examples\n"]
    for file in sorted((ROOT / "examples").glob("*.py")):
        parts.append(f"### {file.name}\n\n```python\n{file.read_text(encoding='utf-8')}```\n")
    parts.append("## Names\n")
    parts += [_section(path, f"from invdyn_ros import {name}") for name, path in names().items()]
    parts.append("## Interfaces to extend\n")
    parts += [_section(path, _import(path)) for path in EXTENDING]
    return "\n".join(parts)


def names() -> dict[str, str]:
    """Return the names of the package -> where they are, without importing it."""
    tree = ast.parse((ROOT / "invdyn_ros/__init__.py").read_text(encoding="utf-8"))
    values = {n.targets[0].id: n.value for n in tree.body if isinstance(n, ast.Assign)}
    return ast.literal_eval(values["_INTERFACE"])


def _import(path: str) -> str:
    module, name = path.rsplit(".", 1)
    return f"from invdyn_ros.{module} import {name}"


def _section(path: str, statement: str) -> str:
    """Return the section of a function, or of a class and its public methods."""
    module, name = path.rsplit(".", 1)
    node = next(n for n in trees()[module].body if getattr(n, "name", "") == name)
    title = statement.split()[-1]
    parts = [f"### {title}\n\n`{statement}`\n"]
    if isinstance(node, ast.FunctionDef):
        return "\n".join([*parts, _function(node, title)])
    parts.append(_text(ast.get_docstring(node)))
    for method in getattr(node, "body", []):
        if isinstance(method, ast.FunctionDef) and method.name == "__init__":
            parts.append(_function(method, title))
        elif isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
            parts.append(_function(method, method.name))
    return "\n".join(parts)


def _function(node: ast.FunctionDef, name: str) -> str:
    """Return the section of a function or method, by the name that callers use."""
    arguments = ast.unparse(node.args).removeprefix("self").removeprefix(", ")
    returns = (
        f" -> {ast.unparse(node.returns)}" if node.returns and node.name != "__init__" else ""
    )
    is_property = any("property" in ast.unparse(d) for d in node.decorator_list)
    signature = f"{name}{'' if is_property else f'({arguments})'}{returns}"
    return f"```python\n{signature}\n```\n\n{_text(ast.get_docstring(node))}"


def _text(docstring: str | None) -> str:
    """Return a Google-style docstring as Markdown."""
    parsed = parse(docstring or "")
    parts = [parsed.short_description or "", parsed.long_description or ""]
    parts += [f"- `{p.arg_name}`: {_line(p.description)}" for p in parsed.params]
    if parsed.returns:
        parts.append(f"\nReturns: {_line(parsed.returns.description)}")
    parts += [f"\nRaises `{r.type_name}`: {_line(r.description)}" for r in parsed.raises]
    blocks = [text_cell(part) for part in parts if part]
    return "\n\n".join(blocks).replace("\n\n- ", "\n- ").replace("\n- ", "\n\n- ", 1) + "\n"


def _line(text: str | None) -> str:
    return " ".join((text or "").split())
