"""Every metric of web, dispatcher and worker, by concern. docs/reference/metrics.md is written from this module.

Names begin with `limner_` and end in their base unit. Each label has few values: models, lanes, states, error codes,
routes, operations. A tenant's id is a label only of the metrics in the last section, which are off by default.
"""

from __future__ import annotations

from typing import Final

from limner_shared.metrics.instruments import Counter, Gauge, Histogram

SHORT: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""Buckets of calls, in seconds."""
LONG: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14_400)
"""Buckets of what a client waits for, in seconds."""
ROWS: Final = (1, 2, 4, 8, 16, 32, 64, 128)

# --- Jobs: recorded by the process that commits the change ---

JOBS_SUBMITTED: Final = Counter("limner_jobs_submitted_total", "Jobs that were accepted.", ("model", "priority"))
JOBS_ENDED: Final = Counter(
    "limner_jobs_ended_total",
    "Jobs that reached a terminal state; `code` is the error's code, or empty.",
    ("model", "state", "code"),
)
JOB_END_TO_END_SECONDS: Final = Histogram(
    "limner_job_end_to_end_seconds",
    "From acceptance to success; of a scheduled job this includes the time until its `not_before`.",
    ("model", "priority"),
    LONG,
)
JOB_WAIT_SECONDS: Final = Histogram(
    "limner_job_wait_seconds",
    "From acceptance to the first claim, of jobs that were not scheduled.",
    ("model", "lane"),
    LONG,
)
JOBS_RELEASED: Final = Counter(
    "limner_jobs_released_total",
    "Jobs published to Redis, by the dispatcher or at their submission.",
    ("model", "lane"),
)
ATTEMPTS: Final = Counter("limner_attempts_total", "Claims of jobs by workers.", ("model",))
JOBS_REQUEUED: Final = Counter(
    "limner_jobs_requeued_total",
    "Running jobs that returned to the queue: `lease_lost`, `retryable_error`, or why their worker gave them back.",
    ("model", "reason"),
)
LEASES_LOST: Final = Counter("limner_leases_lost_total", "Leases that expired because a worker was lost.", ("model",))
DEAD_LETTERS: Final = Counter(
    "limner_dead_letters_total", "Jobs that failed because every worker was lost.", ("model",)
)

# --- Queues: measured every few seconds by the dispatcher that releases ---

QUEUE_JOBS: Final = Gauge(
    "limner_queue_jobs",
    "Queued jobs by lane: `backlog` (not yet released), `paused` (a pause of their model, tenant or bulk holds them; "
    "both counted up to 100000) or `released` (a worker may take them).",
    ("model", "lane", "place"),
)
QUEUE_OLDEST_SECONDS: Final = Gauge(
    "limner_queue_oldest_seconds",
    "Time since the acceptance of the oldest of these jobs; a scheduled or paused job keeps its age.",
    ("model", "lane", "place"),
)

# --- Dispatcher ---

DISPATCHER_LEADS: Final = Gauge("limner_dispatcher_leads", "1 if this dispatcher leads the duty.", ("duty",))
DISPATCHER_ROUND_SECONDS: Final = Histogram(
    "limner_dispatcher_round_seconds", "A round of a duty's leader.", ("duty",), SHORT
)
DISPATCHER_FAILURES: Final = Counter(
    "limner_dispatcher_failures_total", "Items of a duty that failed and were set aside.", ("duty",)
)
DISPATCHER_FAILING_ITEMS: Final = Gauge("limner_dispatcher_set_aside_items", "Failed items that wait for their retry.")
JOBS_RELEASED_AGAIN: Final = Counter(
    "limner_jobs_released_again_total", "Jobs published again because their message was lost.", ("model",)
)

# --- Webhooks ---

WEBHOOK_DELIVERIES: Final = Counter(
    "limner_webhook_deliveries_total",
    "Tries to deliver a webhook, by the state of the delivery after it: `delivered`, `pending` (it is repeated) or "
    "`failed` (given up).",
    ("state",),
)
WEBHOOK_LATE_SECONDS: Final = Gauge(
    "limner_webhook_late_seconds",
    "By how much the most delayed webhook of 256 receivers is late; one that waits for its repeat is not.",
)

# --- Worker ---

WORKER_HELD_JOBS: Final = Gauge("limner_worker_held_jobs", "Jobs between claim and commit.")
WORKER_DRAINING: Final = Gauge("limner_worker_draining", "1 while the worker takes no new jobs.")
WORKER_MODELS: Final = Gauge("limner_worker_models", "1 for each model that the worker serves.", ("model",))
WORKER_PAUSED: Final = Gauge(
    "limner_worker_paused",
    "1 while a circuit breaker keeps the worker from a model, from the `store` or the service of `moderation`.",
    ("what",),
)
INTERPRETATION_SECONDS: Final = Histogram(
    "limner_interpretation_seconds", "Interpretation of one batch of descriptions.", (), SHORT
)
INTERPRETATIONS: Final = Counter(
    "limner_interpretations_total",
    "Interpreted descriptions by what interpreted them; `fallback` is `yes` if something better failed.",
    ("backend", "fallback"),
)
ENCODE_SECONDS: Final = Histogram(
    "limner_encode_seconds", "Start of one batch of rows: text encoding and noise.", ("model",), SHORT
)
STEP_SECONDS: Final = Histogram("limner_step_seconds", "One step of one batch.", ("model",), SHORT)
DECODE_SECONDS: Final = Histogram("limner_decode_seconds", "Decoding of one batch.", ("model",), SHORT)
PUBLISH_SECONDS: Final = Histogram(
    "limner_publish_seconds", "From a job's last pixel to its commit: PNG, blob, ledger.", ("model",), SHORT
)
SAFETY_SECONDS: Final = Histogram(
    "limner_safety_seconds", "The classifier's call for one job's pictures, part of publishing.", (), SHORT
)
MODERATED: Final = Counter(
    "limner_moderated_total",
    "Texts that the rules `blocked`; texts that a moderation service judged, and pictures: `passed`, `flagged` (stored "
    "with a label), `blocked`, `unjudged`.",
    ("what", "result"),
)
CERTIFICATE_END: Final = Gauge(
    "limner_certificate_end_timestamp_seconds",
    "When the certificate that signs pictures ends, in seconds since 1970; not there without one.",
    ("file",),
)
BATCH_ROWS: Final = Histogram("limner_batch_rows", "Rows of each step's batch, without padding.", ("model",), ROWS)
ROW_STEPS: Final = Counter(
    "limner_row_steps_total", "Steps of rows: one for each row of each step's batch.", ("model",)
)
PADDING_ROW_STEPS: Final = Counter(
    "limner_padding_row_steps_total", "Places of batches that padding filled, one for each step.", ("model",)
)
OUT_OF_MEMORY: Final = Counter("limner_out_of_memory_total", "Device calls that ran out of memory.", ("model",))
DEVICE_MEMORY_BYTES: Final = Gauge(
    "limner_device_memory_bytes",
    "Memory of the device: `total`, `free` (for all processes), `allocated` and `reserved` by this one.",
    ("device", "kind"),
)
CACHE_REQUESTS: Final = Counter(
    "limner_cache_requests_total",
    "Look-ups in the caches `texts` (embeddings), `models` (loaded weights) and `results` (equal requests): `hit` or "
    "`miss`.",
    ("cache", "result"),
)

# --- Database, Redis, picture store ---

DATABASE_SECONDS: Final = Histogram(
    "limner_database_seconds", "Transactions, from their begin to their end.", ("operation",), SHORT
)
DATABASE_ERRORS: Final = Counter(
    "limner_database_errors_total",
    "Failed transactions: `full` (the disk of the database), `away` (it is down, locked) or `statement`.",
    ("operation", "kind"),
)
REDIS_SECONDS: Final = Histogram("limner_redis_seconds", "Calls of Redis.", ("operation",), SHORT)
REDIS_ERRORS: Final = Counter("limner_redis_errors_total", "Failed calls of Redis.", ("operation",))
BLOB_SECONDS: Final = Histogram("limner_blob_seconds", "Calls of the picture store.", ("operation",), SHORT)
BLOB_ERRORS: Final = Counter(
    "limner_blob_errors_total",
    "Failed calls of the picture store, by error code and reason: `full`, `denied`, `clock`, `no_bucket`, `busy`, "
    "`server`, `timeout`, `unreachable`, `cut` or `other`. A bucket that fails is not called for a few seconds; calls "
    "that would have been made then are counted too.",
    ("operation", "code", "reason"),
)
LOST_OBJECTS: Final = Counter(
    "limner_lost_objects_total",
    "Reads of a `picture`, `input` or `file` that the database names and the picture store does not have (`missing`) "
    "or has with other bytes (`damaged`).",
    ("kind", "problem"),
)

# --- Web ---

HTTP_REQUESTS: Final = Counter(
    "limner_http_requests_total", "Requests by route and status.", ("method", "route", "status"), few=("status",)
)
HTTP_REQUEST_SECONDS: Final = Histogram(
    "limner_http_request_seconds",
    "Time until the response begins; a long poll's includes its wait.",
    ("method", "route"),
    SHORT,
)
HTTP_SLOTS: Final = Gauge("limner_http_slots", "Slots in use: `requests`, `streams`, `bulks`.", ("kind",))
EVENT_STREAMS: Final = Gauge("limner_event_streams", "Event streams that are open.")
BULK_LINES: Final = Counter("limner_bulk_lines_total", "Lines of bulks that were stored as jobs.")

# --- All processes ---

BUILD_INFO: Final = Gauge("limner_build_info", "1 for each process.", ("version", "process"))

# --- By tenant: only with LIMNER_METRICS_BY_TENANT ---

TENANT_JOBS_ENDED: Final = Counter(
    "limner_tenant_jobs_ended_total", "Jobs that reached a terminal state, by tenant.", ("tenant", "state")
)
