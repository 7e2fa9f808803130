"""Hugging Face's inference calls under `/hf`, for its official clients."""
