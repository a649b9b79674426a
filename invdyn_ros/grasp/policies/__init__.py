"""Grasp policies, their observations, actions and success criteria."""
