"""What at least two of Limner's packages use."""
