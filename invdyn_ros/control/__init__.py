"""Control of an arm: safety limits, motion plans, computed torque and state prediction."""
