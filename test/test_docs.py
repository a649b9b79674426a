"""Commands in the documentation exist, with all of their options."""

import contextlib
import io
import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from invdyn_ros.cli import VERBS, run_verb
from invdyn_ros.graph.arguments import launch_arguments
from invdyn_ros.graph.graph import GRAPHS

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "Makefile",
    *sorted((ROOT / "docs").rglob("*.md")),
]
NESTED = {"collect", "benchmark", "calibrate", "visualize"}  # verbs with sub-commands
CONFIGURED = {
    "train",
    "train_grasp",
    "train_block_pose",
    "train_planner",
}  # options are fields of YAML files


def commands(page):
    """Yield the words of each `invdyn VERB ...` of a page, in code blocks and in backquotes."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ").replace("$(BIN)/", "")
    lines = [line.split("   #")[0].split(" #")[0] for line in text.splitlines()]
    for line in lines:
        for part in re.findall(r"`([^`]+)`", line) if "`" in line else [line]:
            part = re.sub(r"^(\s|[A-Z_]+=\w+ )+", "", part)
            if part.startswith("invdyn "):
                with contextlib.suppress(ValueError):  # an odd quote: not a command
                    yield shlex.split(part)


@cache
def help_of(verb, sub=None):
    """Return the output of `invdyn VERB [SUB] --help`."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        run_verb(verb, [*([sub] if sub else []), "--help"])
    return printed.getvalue()


@cache
def fields():
    """Return the fields of all dataclasses, which are the options of the verbs."""
    text = "\n".join(file.read_text() for file in (ROOT / "invdyn_ros").rglob("*.py"))
    return set(re.findall(r"^    (\w+): ", text, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_page_exist(page):
    for _, verb, *words in commands(page):
        if verb.startswith("-") or not verb.isidentifier() or verb.isupper():
            continue
        assert verb in VERBS, f"no verb {verb}"
        if verb == "launch":
            names = {a.name for a in launch_arguments(GRAPHS[words[0]].arguments)}
            for word in words[1:]:
                assert word.startswith("--") or word.split(":=")[0] in names, word
            continue
        sub = words[0] if verb in NESTED and words and not words[0].startswith("-") else None
        if sub and not sub.isupper():
            assert sub in help_of(verb), f"no invdyn {verb} {sub}"
        text = help_of(verb, sub)
        for option in [word.split("=")[0] for word in words if re.match(r"--[a-z]", word)]:
            known = option in text or option.replace("_", "-") in text
            field = option[2:].replace("-", "_").split(".")[-1]
            assert known or (verb in CONFIGURED and field in fields()), (
                f"{verb}: no option {option}"
            )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_page_resolve(page):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
