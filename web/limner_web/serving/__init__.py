"""What keeps one gevent process responsive: blocking calls on threads, slow clients, health checks."""
