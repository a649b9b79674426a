"""Meaning and unit of each key of the reports, for report pages and the reference."""
