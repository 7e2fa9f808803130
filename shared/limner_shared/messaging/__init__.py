"""Redis: the queue and the hints. Every message may be lost; the database is the source of truth."""
