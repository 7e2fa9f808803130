"""The engine: one thread that runs the work of one device in batches of steps."""
