"""Names: retired ones are not used, and every class has a name of its own."""

import ast
import json
import re
from collections import Counter
from functools import cache
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "invdyn_ros"
SOURCES = [
    p for folder in ("invdyn_ros", "launch", "examples") for p in (ROOT / folder).rglob("*.py")
]
TESTS = sorted((ROOT / "test").glob("*.py"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
RETIRED = [line.split() for line in (ROOT / "test/retired_names.txt").read_text().splitlines()]
EVERYWHERE = {name for name, scope in RETIRED if scope == "*"}
MODULES = {name for name, scope in RETIRED if scope == "module"}
# not English words, so that they are recognised in prose too
IN_PROSE = {n for n in EVERYWHERE if re.search(r"[a-z][A-Z]|_|^[A-Z][a-z]+er$", n)}
KEYS = {name for name, scope in RETIRED if scope.startswith("key:")}
METAPHORS = re.compile(
    r"\b(enters?|leaves?)[,;.]|\bis told\b|\b(network|model|policy|planner|estimator) "
    r"(sees|says|knows|tells|learns to see)\b|\bwhat is wanted\b|\bit is told\b",
)


@cache
def tree_of(file):
    return ast.parse(file.read_text(encoding="utf-8"))


def name_of(file):
    return str(file.relative_to(ROOT))


def definitions(file):
    """Names that a file defines: classes, functions, parameters, variables and attributes."""
    names = set()
    for node in ast.walk(tree_of(file)):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Store):
            names.add(node.id if isinstance(node, ast.Name) else node.attr)
    return names


def prose(file):
    """Docstrings, comments and messages of a Python file, or all of another file."""
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".py":
        return text
    nodes = (n for n in ast.walk(tree_of(file)) if isinstance(n, ast.Constant))
    strings = [node.value for node in nodes if isinstance(node.value, str)]
    return "\n".join([*strings, *re.findall(r"#.*", text)])


def keys(values):
    """All keys of nested mappings."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield key
            yield from keys(value)
    elif isinstance(values, list):
        for value in values:
            yield from keys(value)


def test_no_definition_has_a_retired_name():
    retired_names = {}
    for file in (*SOURCES, *TESTS):
        here = {name for name, scope in RETIRED if scope == name_of(file)}
        retired_names[name_of(file)] = definitions(file) & (EVERYWHERE | here)
    assert not {file: names for file, names in retired_names.items() if names}


def test_retired_names_belong_to_files_that_exist():
    scopes = {scope for _, scope in RETIRED if scope.endswith(".py")}
    assert not [scope for scope in scopes if not (ROOT / scope).is_file()]


def test_no_module_has_a_retired_name():
    assert not {file.stem for file in (*PACKAGE.rglob("*.py"), *TESTS)} & MODULES


def test_no_two_classes_have_the_same_name():
    """The `Config` attributes of the model families are no class definitions."""
    classes = Counter(
        node.name
        for file in PACKAGE.rglob("*.py")
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.ClassDef)
    )
    assert not [name for name, count in classes.items() if count > 1]


def test_no_config_or_checkpoint_has_a_retired_key():
    for file in sorted((ROOT / "config").rglob("*.yaml")):
        retired = set(keys(yaml.safe_load(file.read_text()))) & (EVERYWHERE | KEYS)
        assert not retired, f"{file}: {retired}"
    for file in sorted((ROOT / "config").rglob("*.json")):
        retired = set(keys(json.loads(file.read_text()))) & (EVERYWHERE | KEYS)
        assert not retired, f"{file}: {retired}"


def test_prose_has_no_retired_names_or_metaphors():
    retired = re.compile(rf"\b({'|'.join(sorted(IN_PROSE))})\b")
    words_of = {}
    for file in (*SOURCES, *PAGES):
        text = prose(file)
        matches = (*retired.finditer(text), *METAPHORS.finditer(text))
        words_of[name_of(file)] = {match[0] for match in matches}
    assert not {file: words for file, words in words_of.items() if words}


def test_modules_have_descriptive_docstrings():
    first = {
        name_of(file): (ast.get_docstring(tree_of(file)) or "").split("\n")[0] for file in SOURCES
    }
    metaphor = re.compile(r"\b(enters?|leaves?)\b")
    assert not {file: line for file, line in first.items() if not line or metaphor.search(line)}


def public_functions(tree):
    """Functions of a module and methods of its public classes, without private ones."""
    classes = (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    for scope in (tree, *(node for node in classes if not node.name.startswith("_"))):
        for node in scope.body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                yield node


def test_public_functions_of_three_arguments_document_them():
    undocumented = []
    for file in SOURCES:
        for function in public_functions(tree_of(file)):
            names = [arg.arg for arg in (*function.args.args, *function.args.kwonlyargs)]
            count = len([name for name in names if name not in ("self", "cls")])
            if count >= 3 and "Args:" not in (ast.get_docstring(function) or ""):
                undocumented.append(f"{name_of(file)}:{function.lineno} {function.name}")
    assert not undocumented
