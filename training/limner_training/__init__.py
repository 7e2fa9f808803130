"""Training and evaluation of the built-in models. No package that serves imports it."""
