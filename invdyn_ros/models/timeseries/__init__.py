"""Time-series models: states of a motion at any time from irregular observations."""
