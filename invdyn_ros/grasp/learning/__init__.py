"""Training of grasp policies: reinforcement learning, imitation, demonstrations."""
