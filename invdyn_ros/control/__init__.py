"""From a wanted state to a safe command: the guard and the follower."""
