"""Webhooks in the database. outbox: events and deliveries, written with the change that they report · endpoints: a
tenant's endpoints and secrets · deliveries: claimed, ended and repeated · log: what clients read, and retention.
"""
