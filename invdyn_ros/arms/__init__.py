"""Simulated arms in PyBullet with rendered cameras, and the driver of the real DofBot."""
