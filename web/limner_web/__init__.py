"""The HTTP front: the native API and the page. It knows nothing of torch."""
