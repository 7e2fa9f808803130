"""The dispatcher: it releases queued jobs to Redis fairly, and repairs what is lost, abandoned or out of date.

dispatcher: the process and its threads · leadership: which of several dispatchers is the active one · item_runner:
failing items are set aside, the rest continue · release: to Redis, with fairness (the next tenant), waiting_queues (a
tenant's own queues), release_window (how many jobs) and aging · repair: lost and overdue jobs · retention and
blob_sweep: deletion · wakeup: the wait between rounds.
"""
