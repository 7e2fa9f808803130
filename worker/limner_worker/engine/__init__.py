"""The in-process loop that runs the work of one device in step-level batches."""
