"""Trajectories and the datasets that hold them: reading, writing, windows, splits, leakage."""
