"""Replicate's API under `/replicate/v1`, for its official clients."""
