"""Delivery of webhooks. deliveries: the duty, which claims what is due and records what came back · pacing: how many
may be sent to whom · bodies: what is sent · sender: one HTTP request · network: to which address it connects.
"""
