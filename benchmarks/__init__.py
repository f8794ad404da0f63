"""Measurements, one command each; `python -m benchmarks` runs them all. They print ratios: machines differ."""
