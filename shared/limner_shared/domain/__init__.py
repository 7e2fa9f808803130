"""What a job is: requests, specs, model cards, conditions and the API's views. No I/O but the reading of cards."""
