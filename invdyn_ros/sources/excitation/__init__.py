"""Motions that excite the dynamics of an arm: random, optimal and designed ones."""
