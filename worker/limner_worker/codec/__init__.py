"""Image compression with the built-in autoencoder: `limner compress` and `limner decompress`."""
