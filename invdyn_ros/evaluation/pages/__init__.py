"""Web pages: self-contained HTML files that work offline."""
