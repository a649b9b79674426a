"""Benchmarks, one per module, each beside a peer that is measured in the same run."""
