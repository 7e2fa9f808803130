"""Families of models behind one protocol."""
