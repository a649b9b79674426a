"""Hook of mkdocs: adds the generated pages, the notebooks as pages, and files that pages link to.

Nothing generated is committed, so no second text can fall behind the source.
"""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path
from typing import Any

from api_page import api_page
from cli_page import cli_page
from config_page import config_page
from graph_pages import launch_page, nodes_page, reasons_table, topics_table
from mkdocs.structure.files import File, Files
from report_page import report_page
from source_index import ROOT

PAGES = {
    "reference/cli.md": cli_page,
    "reference/launch.md": launch_page,
    "reference/nodes.md": nodes_page,
    "reference/configuration.md": config_page,
    "reference/reports.md": report_page,
    "reference/api.md": api_page,
}
TABLES = {"<!-- topics -->": topics_table, "<!-- reasons -->": reasons_table}
TOP_LEVEL = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
SEARCH = 'data-md-component="search" role="dialog" aria-label="Search"'
SHIM = re.compile(r"https:[^\"]*/iframe-worker/shim")
LINK = re.compile(r"(\]\()([^)#:\s]+)((?:#[^)]*)?\))")


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """Add what is not in docs/ as it is."""
    for path, make in PAGES.items():
        files.append(File.generated(config, path, content=make()))
    for source, path in TOP_LEVEL.items():
        files.append(File.generated(config, path, content=_read(source)))
    for notebook in sorted((ROOT / "docs").rglob("*.ipynb")):
        path = notebook.relative_to(ROOT / "docs").with_suffix(".md").as_posix()
        files.append(File.generated(config, path, content=notebook_page(notebook)))
    for page in list(files.documentation_pages()):
        for path in _outside_links(page.src_uri, page.content_string):
            if not files.get_file_from_path(f"files/{path}"):
                add = File.generated(config, f"files/{path}", abs_src_path=str(ROOT / path))
                files.append(add)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill tables in, and let links to files outside of docs/ point to their copies."""
    for mark, make in TABLES.items():
        if mark in markdown:
            markdown = markdown.replace(mark, make())
    here = posixpath.dirname(page.file.src_uri)

    def replace(match: re.Match[str]) -> str:
        if match[2].endswith(".ipynb"):
            return f"{match[1]}{match[2].removesuffix('.ipynb')}.md{match[3]}"
        path = _outside(page.file.src_uri, match[2])
        if path is None:
            return match[0]
        target = TOP_LEVEL.get(path, f"files/{path}")
        return f"{match[1]}{posixpath.relpath(target, here or '.')}{match[3]}"

    markdown = LINK.sub(replace, markdown)
    notebook = Path(page.file.src_uri).with_suffix(".ipynb")
    if (ROOT / "docs" / notebook).exists():
        markdown += f"\nThis page is also a notebook: [{notebook.name}]({notebook.name}).\n"
    return markdown


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Take the script that the theme needs for search under file:// from this site."""
    here = posixpath.dirname(page.url)
    output = SHIM.sub(posixpath.relpath("assets/search_worker.js", here or "."), output)
    return output.replace('data-md-component="search" role="dialog"', SEARCH)


def on_post_template(output_content: str, **_: Any) -> str:
    """Do the same for 404.html."""
    return SHIM.sub("assets/search_worker.js", output_content)


def notebook_page(notebook: Path) -> str:
    """Return a notebook as Markdown: cells that begin with ! are commands of the shell."""
    parts = []
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(text)
        elif text.startswith("!"):
            commands = re.sub(r"^!", "", text, flags=re.MULTILINE)
            parts.append(f"```sh\n{commands}\n```")
        else:
            parts.append(f"```python\n{text}\n```")
    return "\n\n".join(parts) + "\n"


def _read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def _outside(page: str, link: str) -> str | None:
    """Return the path in the repository of a link that leaves docs/, None if it does not."""
    top = page in TOP_LEVEL.values()
    path = posixpath.normpath(
        posixpath.join("" if top else f"docs/{posixpath.dirname(page)}", link)
    )
    is_file = (ROOT / path).is_file() and not path.startswith("docs/")
    return path if is_file else None


def _outside_links(page: str, text: str) -> list[str]:
    paths = [_outside(page, match[2]) for match in LINK.finditer(text)]
    return [path for path in paths if path and path not in TOP_LEVEL]
