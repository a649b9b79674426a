"""Table of a collected dataset, and the contradictions in it."""
