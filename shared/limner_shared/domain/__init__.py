"""The domain: requests, specs, states, model cards, conditions and the API's views. No I/O except reading cards."""
