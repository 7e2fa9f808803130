"""Job updates: hints from Redis, delivered to long polls and event streams."""
