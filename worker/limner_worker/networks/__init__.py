"""The neural networks of the built-in models as torch modules, and the storage of their weights."""
