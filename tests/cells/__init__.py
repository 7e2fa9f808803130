"""Tests with several cells behind a real HAProxy: `make cells`."""
