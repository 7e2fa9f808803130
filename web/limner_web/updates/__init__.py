"""What clients wait for: changes of jobs, from Redis to long polls and event streams."""
