"""The trained tagger of words, and what it adds to the rules."""
