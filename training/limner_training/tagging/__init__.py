"""Training of the tagger of words: synthetic descriptions, and the network that learns from them."""
