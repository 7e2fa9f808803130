"""The dispatcher: releases queued jobs into Redis fairly, and puts right whatever was lost, left or is out of date.

dispatcher: the process and its threads · leadership: which of several is the active one · duties: what fails is set
aside, the rest goes on · release: into Redis, with fairness (who is next, as pure policy), lines (a tenant's own),
window (how much stands there), aging and lists (what stands there now) · repair: what is lost or late · cleaning and
blob_sweep: retention.
"""
