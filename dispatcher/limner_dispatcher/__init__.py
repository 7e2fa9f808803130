"""The dispatcher: it releases queued jobs to Redis fairly, and repairs what is lost, abandoned or out of date."""
