"""Page of the keys of the reports, from the table that the pages of reports use, too."""

from __future__ import annotations

from tables import code, stacked, table, text_cell

from invdyn_ros.evaluation.report_keys.registry import ORIGIN_KEYS, REPORT_KEYS
from invdyn_ros.evaluation.report_keys.report_key import Keys

TITLE = """# Report keys

A report is a JSON file with these keys. Names of a path are joined by dots; `*` stands for any
name, `[]` for the items of a list. The page beside each report explains the same keys in place.
Keys with a question mark are absent from some reports.

## Every report
"""


def report_page() -> str:
    """Return the page as Markdown."""
    parts = [TITLE, _keys(ORIGIN_KEYS)]
    for kind, keys in REPORT_KEYS.items():
        own = {path: key for path, key in keys.items() if path not in ORIGIN_KEYS}
        parts.append(f"## {kind}\n\n{_keys(own)}")
    return "\n".join(parts)


def _keys(keys: Keys) -> str:
    """Return the table of keys."""
    rows = (
        (code(path) + ("?" if key.optional else ""), text_cell(key.description), key.unit)
        for path, key in keys.items()
    )
    return stacked(table(("key", "meaning", "unit"), rows))
