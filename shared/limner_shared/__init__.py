"""What the web and the worker agree on; imports neither of them, nor flask, nor torch."""
