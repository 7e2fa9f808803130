"""Language on both sides: descriptions to conditions, and finished pictures to sentences."""
