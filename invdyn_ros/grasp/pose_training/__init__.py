"""Training of the block pose network on rendered images."""
