"""Planners: sequences of states that follow a state, and the actions that realise them."""
