"""From plans to actions: a state and what is wanted enter, actions that lead there leave."""
