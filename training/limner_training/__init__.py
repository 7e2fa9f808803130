"""How the built-in models are trained and scored; only the command line imports it."""
