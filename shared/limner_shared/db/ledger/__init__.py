"""All writes to jobs, images, bulks and events. Each function is one statement or a few, in the caller's transaction
(`Database.write`). Each state change is a conditional update: a late or duplicate call changes nothing, and its result
says so.
"""

from limner_shared.db.ledger.attempts import (
    claim,
    claim_next,
    fail,
    finish,
    forfeit,
    hand_back,
    renew,
    settle,
    store_interpretation,
)
from limner_shared.db.ledger.blob_deletion import (
    collect_garbage,
    inputs_given_up,
    inputs_in_use,
    postpone_inputs,
    schedule_blob_deletion,
    unmark_garbage,
    unmark_inputs,
)
from limner_shared.db.ledger.bulks import (
    cancel_bulk,
    drop_bulk,
    open_bulk,
    pause_bulk,
    seal_bulk,
    stale_bulks,
    sweep_bulk,
    touch_bulk,
    unswept_bulks,
)
from limner_shared.db.ledger.cancellations import (
    cancel_waiting,
    cancellations,
    open_cancellations,
    order_cancellation,
    sweep_cancellation,
)
from limner_shared.db.ledger.conversations import (
    NO_JOB,
    add_turn,
    open_conversation,
    rename_conversation,
    title_of,
)
from limner_shared.db.ledger.deletion import delete_conversation, delete_image, delete_job
from limner_shared.db.ledger.idempotency import (
    EarlierResult,
    delete_idempotency_key,
    delete_old_idempotency_keys,
    find_idempotency_key,
    lock_key,
    read_idempotency_key,
    store_idempotency_key,
)
from limner_shared.db.ledger.intake import (
    LOCAL_NAME,
    LOCAL_TENANT,
    as_stored,
    ensure_tenant,
    submit,
)
from limner_shared.db.ledger.intake_state import read_intake_state
from limner_shared.db.ledger.labels import add_label, remove_label
from limner_shared.db.ledger.priority import prioritise
from limner_shared.db.ledger.quotas import Reserved, reserve_quota
from limner_shared.db.ledger.release import (
    acquire_leadership,
    keep_released,
    promote,
    recall,
    release,
    release_again,
)
from limner_shared.db.ledger.retention import forget_images, forget_jobs, forget_prompts, forget_usage
from limner_shared.db.ledger.scheduling import start_due
from limner_shared.db.ledger.search_index import complete_legacy_jobs, has_legacy_jobs, purge_words
from limner_shared.db.ledger.termination import cancel, expire, fail_unknown, reap, retry_dead
from limner_shared.db.ledger.types import (
    AttemptKey,
    Change,
    Claim,
    NewImage,
    NewJob,
    Released,
    Result,
    Submission,
    UniqueHold,
)
from limner_shared.db.ledger.unique import hold_unique_keys

__all__ = [
    "LOCAL_NAME",
    "LOCAL_TENANT",
    "NO_JOB",
    "AttemptKey",
    "Change",
    "Claim",
    "EarlierResult",
    "NewImage",
    "NewJob",
    "Released",
    "Reserved",
    "Result",
    "Submission",
    "UniqueHold",
    "acquire_leadership",
    "add_label",
    "add_turn",
    "as_stored",
    "cancel",
    "cancel_bulk",
    "cancel_waiting",
    "cancellations",
    "claim",
    "claim_next",
    "collect_garbage",
    "complete_legacy_jobs",
    "delete_conversation",
    "delete_idempotency_key",
    "delete_image",
    "delete_job",
    "delete_old_idempotency_keys",
    "drop_bulk",
    "ensure_tenant",
    "expire",
    "fail",
    "fail_unknown",
    "find_idempotency_key",
    "finish",
    "forfeit",
    "forget_images",
    "forget_jobs",
    "forget_prompts",
    "forget_usage",
    "hand_back",
    "has_legacy_jobs",
    "hold_unique_keys",
    "inputs_given_up",
    "inputs_in_use",
    "keep_released",
    "lock_key",
    "open_bulk",
    "open_cancellations",
    "open_conversation",
    "order_cancellation",
    "pause_bulk",
    "postpone_inputs",
    "prioritise",
    "promote",
    "purge_words",
    "read_idempotency_key",
    "read_intake_state",
    "reap",
    "recall",
    "release",
    "release_again",
    "remove_label",
    "rename_conversation",
    "renew",
    "reserve_quota",
    "retry_dead",
    "schedule_blob_deletion",
    "seal_bulk",
    "settle",
    "stale_bulks",
    "start_due",
    "store_idempotency_key",
    "store_interpretation",
    "submit",
    "sweep_bulk",
    "sweep_cancellation",
    "title_of",
    "touch_bulk",
    "unmark_garbage",
    "unmark_inputs",
    "unswept_bulks",
]
