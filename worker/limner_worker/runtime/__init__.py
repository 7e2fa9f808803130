"""The worker process: Celery's pool, claims, leases, admission, progress and the watchdog."""
