"""From requests to queued jobs: single jobs, bulks, conversations, idempotency. Every API submits through here."""
