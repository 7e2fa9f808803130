"""The native API, `/api/v1`: each handler is its contract and a few lines."""
