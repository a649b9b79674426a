"""Page of every verb of `invdyn` and its options."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from source_index import DataClass, Field, classes, constant, in_module, trees
from tables import code, plain_type, stacked, table, text_cell

TITLE = """# Command line

`invdyn VERB --help` prints the options of a verb, `invdyn launch GRAPH --show-args` the
[launch arguments](launch.md). Bad input ends with code 2 and one line that says what to do.
"""
CONFIG_FILE = """
`--field value` overrides any field of the YAML file: see [configuration](configuration.md).
"""
FREE_VERBS = ("train", "train_grasp", "train_block_pose")  # they take fields of their YAML file


def cli_page() -> str:
    """Return the page as Markdown."""
    parts = [TITLE]
    for command, options in commands().items():
        verb = command.split()[0]
        level = 2 if " " not in command else 3
        if level == 3 and command == first_of(verb):
            parts.append(f"## invdyn {verb}\n\n{sentence(verbs()[verb])}\n")
        parts.append(f"{'#' * level} invdyn {command}\n")
        parts.append(f"{text_cell(options.summary if options else sentence(verbs()[verb]))}\n")
        if options:
            parts.append(options_table(options))
        if verb in FREE_VERBS:
            parts.append(CONFIG_FILE)
        if verb == "launch":
            parts.append("See [launch arguments](launch.md).\n")
    return "\n".join(parts)


def verbs() -> dict[str, str]:
    """Return verb -> summary."""
    return ast.literal_eval(constant("cli.__init__", "VERBS"))


def first_of(verb: str) -> str:
    """Return the first command of a verb with sub-commands."""
    return next(command for command in commands() if command.startswith(f"{verb} "))


def sentence(text: str) -> str:
    """Return a summary as a sentence."""
    return f"{text[0].upper()}{text[1:]}."


def commands() -> dict[str, DataClass | None]:
    """Return each command with the dataclass of its options."""
    nested = {"benchmark": _benchmarks, "collect": _sources, "identify": _subjects}
    result: dict[str, DataClass | None] = {}
    for verb in verbs():
        found = dict(nested[verb]() if verb in nested else _subcommands(verb))
        if found:
            result |= {f"{verb} {name}": options for name, options in found.items()}
        else:
            own = in_module(f"cli.{verb}", "Options")
            result[verb] = own[0] if own else _imported_options(verb)
    return result


def options_table(options: DataClass) -> str:
    """Return the options of a command as a table."""
    rows = (
        (
            code(option(field)),
            code(plain_type(field.type)),
            code(field.default or "required"),
            meaning,
        )
        for field in flat_fields(options)
        for meaning in [text_cell(field.description)]
    )
    return stacked(table(("option", "value", "default", "meaning"), rows))


def flat_fields(options: DataClass) -> Iterator[Field]:
    """Yield the options of a command: fields of nested dataclasses are options, too."""
    for field in options.fields:
        if field.type in classes():
            yield from flat_fields(classes()[field.type])
        else:
            yield field


def option(field: Field) -> str:
    """Return the option of a field as it is typed."""
    if field.is_positional or field.name in ("path", "paths"):
        return field.name.upper()
    return f"--{field.name.replace('_', '-')}"


def _benchmarks() -> Iterator[tuple[str, DataClass]]:
    for name in ast.literal_eval(constant("cli.benchmark", "BENCHMARKS")):
        for node in trees()[f"benchmarks.{name}"].body:
            if isinstance(node, ast.FunctionDef) and node.name == f"measure_{name}":
                yield name, classes()[ast.unparse(node.args.args[0].annotation)]  # type: ignore[arg-type]


def _sources() -> Iterator[tuple[str, DataClass]]:
    out = Field("out", "Path", None, "Dataset folder to write.")
    registry: ast.Dict = constant("sources.registry", "SOURCES")  # type: ignore[assignment]
    for key, value in zip(registry.keys, registry.values, strict=True):
        source = classes()[ast.unparse(value)]
        fields = (*source.fields, out, *classes()["OutputOptions"].fields)
        with_out = DataClass(source.name, source.module, source.summary, (), fields)
        yield ast.literal_eval(key), with_out  # type: ignore[arg-type]
    for item in in_module("cli.collect_grasp", "Options"):
        yield item.name.removeprefix("Collect").removesuffix("Options").lower(), item


def _subjects() -> Iterator[tuple[str, DataClass]]:
    for name in ast.literal_eval(constant("cli.identify", "SUBJECTS")):
        yield name, in_module(f"cli.identify_{name}", "Options")[0]


def _subcommands(verb: str) -> Iterator[tuple[str, DataClass]]:
    """Yield what the module of a verb marks as `Annotated[Options, subcommand("name")]`."""
    for node in ast.walk(trees()[f"cli.{verb}"]):
        if isinstance(node, ast.Tuple) and len(node.elts) == 2:
            options, call = map(ast.unparse, node.elts)
            if options in classes() and call.startswith("tyro.conf.subcommand("):
                yield ast.literal_eval(node.elts[1].args[0]), classes()[options]  # type: ignore[attr-defined]


def _imported_options(verb: str) -> DataClass | None:
    """Return the options that the module of a verb imports and parses."""
    for node in ast.walk(trees()[f"cli.{verb}"]):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if alias.name.endswith("Options") and alias.name in classes():
                    return classes()[alias.name]
    return None
