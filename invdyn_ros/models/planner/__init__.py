"""Planners of state sequences, and control with the actions that realise them."""
