"""Keeps a gevent process responsive: blocking calls on threads, timeouts for slow clients, health checks."""
