"""Scenes: a prompt is read as things, each of them is drawn by itself, and they are put in one picture."""
