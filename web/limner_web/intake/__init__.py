"""From requests to queued jobs: single jobs, bulks, conversations, input images. Every API submits through here."""
