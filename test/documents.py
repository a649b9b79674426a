"""Commands in the documentation: where they are, and whether a test runs them."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "docs").rglob("*.ipynb"))
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *NOTEBOOKS,
]
MARKS = ("needs hardware", "takes minutes")
"""Comments before a block, <!-- MARK -->, which say why no test runs it."""


class Block(NamedTuple):
    """A block of code."""

    language: str
    text: str
    mark: str | None

    @property
    def lines(self) -> list[str]:
        """Return its commands without comments."""
        joined = self.text.replace("\\\n", " ")
        lines = [re.split(r"\s#", line)[0].strip() for line in joined.splitlines()]
        return [line for line in lines if line and not line.startswith("#")]


def text_of(page: Path) -> str:
    """Return a page as Markdown; a command of a notebook is an unmarked block."""
    text = page.read_text(encoding="utf-8")
    if page.suffix != ".ipynb":
        return text
    parts = []
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            language = "sh" if source.startswith("!") else "python"
            source = f"```{language}\n{source.replace('!invdyn', 'invdyn')}\n```"
        parts.append(source)
    return "\n\n".join(parts)


def blocks(page: Path) -> Iterator[Block]:
    """Yield the blocks of code of a page."""
    pattern = r"(?:^<!-- ([^>]*) -->\n)?^```(\w*)\n(.*?)^```$"
    for mark, language, text in re.findall(pattern, text_of(page), re.MULTILINE | re.DOTALL):
        yield Block(language, text, mark or None)


def commands(page: Path) -> Iterator[list[str]]:
    """Yield the words of each command `invdyn ...` of a page, in blocks and in backquotes."""
    in_blocks = [line for block in blocks(page) for line in block.lines]
    prose = re.sub(r"^```.*?^```$", "", text_of(page), flags=re.MULTILINE | re.DOTALL)
    for line in in_blocks + re.findall(r"`(invdyn [^`]+)`", prose):
        for part in line.split("&&"):
            words = shlex.split(re.sub(r"^(\s|[A-Z_]+=\w+ )+", "", part))
            if words and words[0] == "invdyn" and not words[1].isupper():
                yield words[1:]
