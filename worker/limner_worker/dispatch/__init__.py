"""The dispatcher: releases queued jobs into Redis fairly, and puts right whatever was lost, left or is out of date.

fairness: who is next, as pure policy · window: how much stands in Redis · lists: what stands there now ·
dispatcher: one round after another · cleaning: retention.
"""
