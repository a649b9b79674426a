"""The documentation is true: commands exist and run, links lead somewhere."""

import contextlib
import importlib
import io
import re
import shlex
from functools import cache
from unittest.mock import patch

import pytest
import tyro
from documents import MARKS, NOTEBOOKS, PAGES, ROOT, blocks, commands, text_of

from invdyn_ros.cli import VERBS, options, run_verb
from invdyn_ros.config import from_strings
from invdyn_ros.graph.graph import find_graph

LANGUAGES = {"sh", "python", "yaml", ""}
RUNNABLE = [page for page in PAGES if page.suffix == ".md"]


class Parsed(BaseException):
    """The options of a command are valid."""


def check_options(verb, words):
    """Parse the options of a command, and do nothing else.

    Raises:
        ValueError: an unknown verb, sub-command, option or value.
    """
    if verb not in VERBS:
        raise ValueError(f"no verb {verb}")
    if verb == "launch":
        given = dict(word.split(":=", 1) for word in words[1:] if ":=" in word)
        fields = find_graph(words[0]).arguments.__dataclass_fields__
        assert set(given) <= set(fields), set(given) - set(fields)
        values = {k: v.split("|")[0] for k, v in given.items() if not v.isupper()}
        from_strings(find_graph(words[0]).arguments, values, "launch arguments")
        return
    pairs = zip(["", *words[:-1]], words, [*words[1:], ""], strict=True)
    words = [
        word
        for before, word, after in pairs
        if not (before.startswith("--") and word.isupper())  # a placeholder
        and not (word.startswith("--") and after.isupper())
    ]
    real = tyro.cli

    def parse_only(*args, **keywords):
        result = real(*args, **keywords)
        raise Parsed(result)

    module = importlib.import_module(f"invdyn_ros.cli.{verb}")
    files = patch.object(options, "register_arm", str)  # those of the page do not exist
    with files, patch.object(tyro, "cli", parse_only), contextlib.suppress(Parsed):
        module.main(list(words))


def is_whole(words):
    """Whether a command is meant to be typed, and not a part of one, such as `invdyn train`."""
    return not any(word.isupper() or "..." in word for word in words[:1])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_page_exist(page):
    for verb, *words in commands(page):
        if verb.startswith("-"):
            continue
        verb = verb.replace("-", "_")
        assert verb in VERBS, f"no verb {verb}"
        if len(words) > 1 and "..." not in words and is_whole(words):
            try:
                check_options(verb, words)
            except (ValueError, SystemExit) as error:
                missing = re.search(r"required|Missing", str(error))
                assert missing, f"invdyn {verb} {' '.join(words)}: {error}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_block_that_no_test_runs_says_why(page):
    for block in blocks(page):
        assert block.language in LANGUAGES, block.text
        assert block.mark is None or block.mark in MARKS, block.mark
        runs = block.language != "sh" or all(line.startswith("invdyn ") for line in block.lines)
        assert runs or block.mark, f"a test runs only invdyn; mark the block: {block.text}"


def run_line(line):
    """Run a command line of `invdyn` in this process."""
    (verb, *words) = shlex.split(line)[1:]
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        assert run_verb(verb, words) == 0, line
    return output.getvalue()


@cache
def help_of(verb, sub=None):
    """Return the output of `invdyn VERB [SUB] --help`."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        run_verb(verb, [*([sub] if sub else []), "--help"])
    return printed.getvalue()


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder from which the paths in the documentation lead to the files of the repository."""
    for name in ("config", "urdf", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: str(page.relative_to(ROOT)))
def test_unmarked_commands_of_page_run(page, workplace):
    for block in blocks(page):
        if block.language == "sh" and not block.mark:
            for line in block.lines:
                run_line(line)


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_notebook_runs(notebook, workplace, capsys):
    """Cells are commands or plain Python, so no kernel is needed, nor its thirty packages."""
    names = {"__name__": "__main__"}
    for block in blocks(notebook):
        if block.mark:
            continue
        if block.language == "sh":
            for line in block.lines:
                run_line(line)
        else:
            exec(compile(block.text, notebook.name, "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_page_resolve(page):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text_of(page)):
        assert (page.parent / target).exists() or "reference/" in target, target
