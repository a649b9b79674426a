"""Evaluation on held-out data: metrics, baselines, closed-loop rollouts and reports."""
