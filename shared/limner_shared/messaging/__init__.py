"""Redis: the queue and the hints. Every message may be lost, and the database makes up for it."""
