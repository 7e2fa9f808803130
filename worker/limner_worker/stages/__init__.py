"""The stages of a job between claim and engine, and between engine and commit."""
