"""Page of the Python interface: what `examples/` use, and the interfaces to extend."""

from __future__ import annotations

import ast

from docstring_parser import parse
from source_index import ROOT, trees
from tables import text_cell

TITLE = """# Python interface

Every source becomes a list of `Trajectory`, every model maps a window of motion to actions. The
examples run as they are, and tests run them.
"""
INTERFACE = {
    "Data": (
        "data.trajectory.Trajectory",
        "data.dataset.read_dataset",
        "data.dataset.write_dataset",
    ),
    "Training": ("training.train.train", "training.run_config.TrainConfig"),
    "Models": (
        "models.checkpoint.load",
        "models.inverse_dynamics.InverseDynamics",
        "models.runtime.load_runtime",
    ),
    "Evaluation": ("evaluation.prediction.predict_split", "evaluation.evaluate.evaluation_report"),
    "Robots": ("robots.robot.load_robot", "robots.robot.Robot"),
    "Control": ("control.controller.ArmController",),
    "Grasping": ("grasp.envs.grasp_env.GraspEnv",),
    "Sources": ("sources.source.Source",),
}
"""Heading -> functions and classes, by their path below invdyn_ros."""


def api_page() -> str:
    """Return the page as Markdown."""
    parts = [TITLE, "## Examples\n"]
    for file in sorted((ROOT / "examples").glob("*.py")):
        parts.append(f"### {file.name}\n\n```python\n{file.read_text(encoding='utf-8')}```\n")
    for heading, names in INTERFACE.items():
        parts.append(f"## {heading}\n")
        parts += [_section(name) for name in names]
    return "\n".join(parts)


def _section(path: str) -> str:
    """Return the section of a function, or of a class and its public methods."""
    module, name = path.rsplit(".", 1)
    node = next(n for n in trees()[module].body if getattr(n, "name", "") == name)
    parts = [f"### {name}\n\n`from invdyn_ros.{module} import {name}`\n"]
    if isinstance(node, ast.FunctionDef):
        return "\n".join([*parts, _function(node)])
    parts.append(_text(ast.get_docstring(node)))
    for method in getattr(node, "body", []):
        if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
            parts.append(_function(method))
    return "\n".join(parts)


def _function(node: ast.FunctionDef) -> str:
    arguments = ast.unparse(node.args)
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    is_property = any("property" in ast.unparse(d) for d in node.decorator_list)
    signature = f"{node.name}{'' if is_property else f'({arguments})'}{returns}"
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
