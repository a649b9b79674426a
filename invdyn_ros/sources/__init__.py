"""Where trajectories come from, one source per file; each leaves `Trajectory` objects."""
