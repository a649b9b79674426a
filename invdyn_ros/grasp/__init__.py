"""Find a block, lift it, put it where it belongs: task, policy and what they share."""
