"""Inverse dynamics models: families, checkpoints and live runtimes."""
