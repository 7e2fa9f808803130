"""Finished pictures in words: what an evaluator sees in them, and the sentences that present them."""
