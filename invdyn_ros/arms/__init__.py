"""The arms, simulated and real: commands enter; measured joint states and camera images leave."""
