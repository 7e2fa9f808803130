"""What makes the pictures: the Celery worker, its engine, the generators and their training."""
