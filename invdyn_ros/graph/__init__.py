"""Graphs of nodes: their launch arguments, their nodes and starting them as processes."""
