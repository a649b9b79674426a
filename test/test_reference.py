"""Nothing that a user can set, read or meet is undocumented, and the site builds."""

import ast
import os
import re
import sys
from functools import cache

import pytest
from browser import WIDTHS, check_accessible, open_page, requested_addresses
from documents import ROOT

sys.path.insert(0, str(ROOT / "docs" / "hooks"))

import cli_page
import config_page
import graph_pages
import source_index

from invdyn_ros.data.output_options import NAMES
from invdyn_ros.graph import topics
from invdyn_ros.graph.graph import GRAPHS
from invdyn_ros.graph.launch_arguments import launch_arguments


def nodes_of(kind, tree):
    return (node for node in ast.walk(tree) if isinstance(node, kind))


def text(node):
    """The text of a string; a value in it is {}."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(map(part_of_text, node.values))
    return None


def part_of_text(node):
    """A part of a string: a constant of the package as it is, another value as {}."""
    if isinstance(node, ast.Constant):
        return node.value
    return constants().get(ast.unparse(node.value), "{}")


@cache
def constants():
    """Name -> text of the constants in capitals, without those that hold values."""
    statements = (n for tree in source_index.trees().values() for n in tree.body)
    return {
        node.targets[0].id: node.value.value
        for node in statements
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }


def test_every_option_and_setting_has_a_description():
    items = [*config_page.documented_classes(), *filter(None, cli_page.commands().values())]
    assert len(items) > 120
    missing = [f"{c.name}.{f.name}" for c in items for f in c.fields if not f.description]
    missing += [c.name for c in items if not c.summary]
    for node in graph_pages.nodes():
        missing += [f"{node}: {f.name}" for f in graph_pages.parameters(node) if not f.description]
    for graph in GRAPHS.values():
        missing += [a.name for a in launch_arguments(graph.arguments) if not a.description]
    assert not missing


def test_every_ros_parameter_is_a_field_of_a_documented_dataclass():
    for name, tree in source_index.trees().items():
        if name.startswith("nodes.") and name != "nodes.runner":
            calls = [n.func for n in nodes_of(ast.Call, tree)]
            declared = [c for c in calls if getattr(c, "attr", "") == "declare_parameter"]
            assert not declared, f"{name}: load_parameters gives a parameter its description"


def test_the_options_in_the_reference_are_those_of_the_commands():
    from test_docs import help_of

    for command, options in cli_page.commands().items():
        if options is None or command == "launch":
            continue
        printed = help_of(*command.split(" ", 1))
        listed = {cli_page.option(field) for field in cli_page.flat_fields(options)}
        real = set(re.findall(r"^(?:│| ) (--[a-z][a-z0-9-]+)", printed, re.MULTILINE)) - {"--help"}
        assert {o for o in listed if o.startswith("--")} == real, command


def test_commands_keep_what_exists_at_every_option_that_they_write():
    for command, options in cli_page.commands().items():
        written = [
            f.name for f in (options.fields if options else ()) if "to write" in f.description
        ]
        assert set(written) <= {*NAMES, "record"}, command  # a recording is always a new folder


PRIVATE_OF = dict.fromkeys(("managed_node", "command_publisher"), "inverse_dynamics")


def topics_in(node, tree):
    """Topics and services of a node: private ones, and those whose names it imports."""
    names = {node.id for node in nodes_of(ast.Name, tree) if not node.id.startswith("_")}
    for name in names & vars(topics).keys():
        value = getattr(topics, name)
        value = value("<id>") if callable(value) else value
        texts = [value] if isinstance(value, str) else value.values()
        yield from (topic if topic.startswith("/") else f"/{topic}" for topic in texts)
    for part in nodes_of(ast.Constant, tree):
        if isinstance(part.value, str) and part.value.startswith("~/"):
            yield part.value.replace("~", f"/{PRIVATE_OF.get(node, node)}")


def test_every_topic_and_service_is_documented():
    data = graph_pages.read_yaml("topics.yaml")
    documented = set(data["topics"]) | set(data["services"])
    trees = source_index.trees().items()
    nodes = {name.split(".")[1]: tree for name, tree in trees if name.startswith("nodes.")}
    used = {topic for node, tree in nodes.items() for topic in topics_in(node, tree)}
    assert used == documented
    assert all(entry["meaning"] for kind in data.values() for entry in kind.values())


GIVING = {"hold", "_hold", "Fault", "Rejection", "joint_fault"}
SAYS_WHY = re.compile(r"\bwhy\b|[Ww]hat is wrong")
IS_REASON = re.compile(r"(hold_reason|\breason|\.problem)\)?$")
PACKAGES = ("arms", "control", "nodes", "perception", "teleop", "grasp.policies")
OTHERS = {"arms.dofbot_bus", "nodes.report"}  # errors of files and of buses, ends of runs


def strings(node):
    """Yield the whole strings below a node, not the parts of one with values."""
    phrase = text(node)
    if phrase is not None:
        yield phrase
    elif node is not None:
        for child in ast.iter_child_nodes(node):
            yield from strings(child)


def given_reasons(tree):
    """Yield what a module gives as reason of a fault, a hold or a refusal."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called in GIVING:
                yield from (phrase for value in node.args[:2] for phrase in strings(value))
        elif isinstance(node, ast.FunctionDef):
            if SAYS_WHY.search((ast.get_docstring(node) or "").split("\n")[0]):
                for returned in nodes_of(ast.Return, node):
                    yield from strings(returned.value)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(IS_REASON.search(ast.unparse(target)) for target in targets):
                yield from strings(node.value)


def test_every_reason_has_a_cause_and_a_remedy():
    reasons = [r for group in graph_pages.read_yaml("reasons.yaml").values() for r in group]
    assert all(r["cause"] and r["remedy"] for r in reasons)
    starts = {r["reason"].split("{")[0] for r in reasons} - {""}
    trees = source_index.trees()
    given = {
        (module, phrase)
        for module, tree in trees.items()
        if module.startswith(PACKAGES) and module not in OTHERS
        for phrase in given_reasons(tree)
        if re.match(r"[a-z].* ", phrase)
    }
    assert len(given) > 30
    unknown = {pair for pair in given if not pair[1].startswith(tuple(starts))}
    assert not unknown
    written = {phrase for tree in trees.values() for phrase in strings(tree)}
    assert not {start for start in starts if not any(w.startswith(start) for w in written)}
    module = trees["control.faults"]
    faults = {text(n.value) for n in module.body if isinstance(n, ast.Assign)} - {None}
    assert faults <= starts


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built documentation; a warning, such as a dead link, fails."""
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    os.environ["NO_MKDOCS_2_WARNING"] = "1"
    folder = tmp_path_factory.mktemp("site")
    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder))
    config.plugins.on_startup(command="build", dirty=False)
    build(config)
    return folder


@pytest.mark.slow
def test_site_opens_without_a_network(browser, site):
    for width in WIDTHS:
        open_page(browser, site / "troubleshooting.html", width)
        assert "following error" in browser.page_source
        foreign = [a for a in requested_addresses(browser) if not a.startswith("file:")]
        assert not foreign
        assert not [e for e in browser.get_log("browser") if e["level"] == "SEVERE"]
        check_accessible(browser)


@pytest.mark.slow
def test_search_finds_a_parameter(browser, site):
    open_page(browser, site / "index.html")
    browser.execute_script("document.querySelector('[data-md-component=search-query]').focus()")
    field = browser.switch_to.active_element
    field.send_keys("frozen_travel")
    from selenium.webdriver.support.wait import WebDriverWait

    phrase = WebDriverWait(browser, 20).until(
        lambda b: b.execute_script(
            "return document.querySelector('.md-search-result__item a')?.href"
        )
    )
    assert "configuration.html" in phrase or "nodes.html" in phrase
