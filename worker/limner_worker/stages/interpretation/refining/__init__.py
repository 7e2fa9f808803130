"""What a message changes about earlier pictures. No I/O."""
