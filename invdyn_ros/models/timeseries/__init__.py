"""Where a machine was between the moments at which it was seen, at irregular times."""
