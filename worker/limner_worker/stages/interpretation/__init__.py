"""Language on both sides: `interpret` makes conditions of descriptions, `present` says what came of them."""
