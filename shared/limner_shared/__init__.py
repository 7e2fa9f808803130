"""The code that at least two of Limner's packages use."""
