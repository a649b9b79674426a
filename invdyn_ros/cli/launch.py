"""`invdyn launch`: run the nodes of a graph."""

from __future__ import annotations

import os
import sys

from invdyn_ros.evaluation.run_info import COMMAND_VARIABLE, command_line
from invdyn_ros.graph.graph import GRAPHS, find_graph, resolve
from invdyn_ros.graph.launch_arguments import launch_arguments
from invdyn_ros.graph.launcher import launch
from invdyn_ros.graph.templates import Graph

USAGE = "usage: invdyn launch {} [name:=value ...] [--show-args]".format("|".join(GRAPHS))


def main(argv: list[str] | None = None) -> int:
    """Launch a graph and return the exit code of the run."""
    words = sys.argv[1:] if argv is None else argv
    options = [word for word in words if word.startswith("-")]
    if {"-h", "--help"} & set(options):
        print(_help_text())
        return 0
    for option in options:
        if option not in ("-s", "--show-args"):
            raise ValueError(f"unknown option {option}; {USAGE}")
    names = [word for word in words if word not in options and ":=" not in word]
    if len(names) != 1:
        raise ValueError(
            f"expected the name of one graph, got {' '.join(names) or 'none'}; {USAGE}"
        )
    values = dict(word.split(":=", 1) for word in words if ":=" in word)
    if options:
        print(show_arguments(find_graph(names[0])))
        return 0
    specs = resolve(names[0], values)
    os.environ[COMMAND_VARIABLE] = command_line("launch", words)
    return launch(specs)


def show_arguments(graph: Graph) -> str:
    """Return a list of a graph's launch arguments, as text."""
    lines = []
    for argument in launch_arguments(graph.arguments):
        values = "|".join(argument.choices) or argument.type
        lines += [f"  {argument.name}:={values}  (default '{argument.default}')"]
        lines += [f"      {argument.description}"]
    return "\n".join(lines)


def _help_text() -> str:
    graphs = [f"  {name:<10} {graph.description}" for name, graph in GRAPHS.items()]
    return "\n".join([USAGE, "", *graphs, "", "Ctrl-C ends all nodes."])
