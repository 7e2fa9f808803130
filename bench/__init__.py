"""Benchmarks: each is one command, `python -m bench.NAME`."""
