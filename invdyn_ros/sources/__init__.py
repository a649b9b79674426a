"""Sources of trajectories, one per module: simulations, recordings, files and videos."""
