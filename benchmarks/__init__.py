"""Programs that print the figures quoted in docs/results.md, each as a ratio to its limit.

``python -m benchmarks [--quick] [--only NAME]`` runs them and exits 1 where a limit is missed.
"""
