"""Text to embeddings: the sentence encoder, and caches in memory and Redis."""
