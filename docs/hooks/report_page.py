"""Page of the keys of the reports."""

from __future__ import annotations


def report_page() -> str:
    """Return the page as Markdown."""
    return "# Report keys\n"
