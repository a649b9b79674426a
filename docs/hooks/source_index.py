"""Index of the package's dataclasses, read from the source without importing it.

Importing every module takes torch, MediaPipe and more; parsing takes a second.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from docstring_parser import parse

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "invdyn_ros"


@dataclass(frozen=True)
class Field:
    """One field of a dataclass."""

    name: str
    type: str
    default: str | None
    """Source text of the default; None if the field is required."""
    description: str
    is_positional: bool = False
    """Whether the command line takes it without an option."""
    is_reconfigurable: bool = False
    """Whether a node can change it while it runs."""


@dataclass(frozen=True)
class DataClass:
    """A dataclass of the package."""

    name: str
    module: str
    """Dotted path below invdyn_ros."""
    summary: str
    bases: tuple[str, ...]
    own_fields: tuple[Field, ...]

    @property
    def fields(self) -> tuple[Field, ...]:
        """Fields with those of the base classes."""
        result: dict[str, Field] = {}
        for base in self.bases:
            if base in classes():
                result |= {field.name: field for field in classes()[base].fields}
        return tuple((result | {field.name: field for field in self.own_fields}).values())


@cache
def trees() -> dict[str, ast.Module]:
    """Return the syntax tree of each module, by its dotted path below invdyn_ros."""
    return {
        ".".join(file.relative_to(PACKAGE).with_suffix("").parts): ast.parse(
            file.read_text(encoding="utf-8")
        )
        for file in sorted(PACKAGE.rglob("*.py"))
    }


@cache
def classes() -> dict[str, DataClass]:
    """Return the dataclasses by name."""
    return {
        node.name: _dataclass(node, module)
        for module, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and _is_dataclass(node)
    }


def in_module(module: str, suffix: str = "") -> list[DataClass]:
    """Return the dataclasses of a module whose name ends in `suffix`."""
    return [c for c in classes().values() if c.module == module and c.name.endswith(suffix)]


def constant(module: str, name: str) -> ast.expr:
    """Return the value that a module assigns to a name."""
    for node in trees()[module].body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return node.value  # type: ignore[union-attr, return-value]
    raise ValueError(f"{module} has no {name}")


def _is_dataclass(node: ast.ClassDef) -> bool:
    return any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)


def _dataclass(node: ast.ClassDef, module: str) -> DataClass:
    docstring = parse(ast.get_docstring(node) or "")
    described = {p.arg_name: p.description or "" for p in docstring.params}
    fields = []
    for statement, after in zip(node.body, [*node.body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        name, kind = statement.target.id, ast.unparse(statement.annotation)
        given = re.search(r"tyro\.conf\.arg\(name='(\w+)'\)", kind)  # "with" is no name in Python
        name = given[1] if given else name
        if kind.startswith("ClassVar") or "init=False" in ast.unparse(statement):
            continue
        text = _literal(after) or described.get(name, "") or _field_description(statement)
        default = None if statement.value is None else ast.unparse(statement.value)
        if default is not None and default.startswith("field("):
            default = _field_default(statement.value)
        short = _short_type(statement.annotation)
        changes = "RECONFIGURABLE" in ast.unparse(statement)
        is_positional = "Positional[" in kind
        fields.append(Field(name, short, default, _one_line(text), is_positional, changes))
    bases = tuple(ast.unparse(base) for base in node.bases)
    summary = docstring.short_description or ""
    return DataClass(node.name, module, _one_line(summary), bases, tuple(fields))


def _literal(node: ast.stmt | None) -> str:
    """Return the text of a string that stands alone, such as below a field."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return str(node.value.value)
    return ""


def _field_description(statement: ast.AnnAssign) -> str:
    """Return the description in an annotation with `Field(description=...)`."""
    for node in ast.walk(statement.annotation):
        if isinstance(node, ast.keyword) and node.arg == "description":
            return str(ast.literal_eval(node.value))
    return ""


def _field_default(value: ast.expr | None) -> str | None:
    """Return the default of `field(...)`: what its factory makes."""
    for keyword in getattr(value, "keywords", []):
        if keyword.arg == "default_factory":
            return f"{ast.unparse(keyword.value)}()".replace("dict()", "{}").replace(
                "list()", "[]"
            )
        if keyword.arg == "default":
            return ast.unparse(keyword.value)
    return None


def _short_type(annotation: ast.expr) -> str:
    """Return an annotation as text, without the description of a launch argument."""
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Annotated":
        kind, *rules = annotation.slice.elts  # type: ignore[attr-defined]
        words = [
            f"{keyword.arg}={ast.unparse(keyword.value)}"
            for rule in rules
            for keyword in getattr(rule, "keywords", [])
            if keyword.arg not in ("description", "allow_inf_nan", "name")
        ]
        return ", ".join([_short_type(kind), *words])
    return (
        ast.unparse(annotation)
        .removeprefix("tyro.conf.Positional[")
        .removesuffix("]" if "Positional[" in ast.unparse(annotation) else "")
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())
