"""Trajectories and datasets: reading, writing, windows, train/test splits and leakage checks."""
