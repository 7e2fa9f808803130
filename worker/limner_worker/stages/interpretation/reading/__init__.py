"""Takes a description apart by the rules of its language. No I/O."""
