"""No column of the database keeps a tenant's words when what they belong to is deleted.

Every column of text, JSON or bytes is written with a word that the tenant sends, or listed here with the reason why it
cannot hold one. A new column is in neither, and fails the test.
"""

from __future__ import annotations

import io
import os
from typing import Any, Final

import pytest
from sqlalchemy import JSON, LargeBinary, String, insert, select, update

from limner_dispatcher.blob_sweep import BlobSweep
from limner_dispatcher.retention import Retention
from limner_shared.db import ledger
from limner_shared.db.batch_tables import Batch
from limner_shared.db.engine import Database, now
from limner_shared.db.file_tables import StoredFile
from limner_shared.db.ledger import NewImage
from limner_shared.db.table_base import Base
from limner_shared.db.webhook_tables import WebhookAttempt, WebhookDelivery, WebhookEvent
from limner_shared.errors import GenerationFailed
from limner_web.openai.batch_loader import BatchLoader
from tests.api.batches import call_line, jsonl
from tests.api.canvas import TOOL, app
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_bulks import JSONL
from tests.api.test_keys import make_key
from tests.api.test_retention import (
    NO_GRACE,
    WORD,
    both_databases,
    files,
    redis_entries,
    set_retention,
    submit,
    tables_with_word,
    use_all_features,
)

__all__ = ["app"]

URL: Final = f"https://shop.example/{WORD}"
EDIT: Final = "/v1/images/generations"
REASONS: Final[dict[str, str]] = {
    "an id that the service makes, or the name of one of its tenants": """
        api_keys.id api_keys.replaced_by api_keys.tenant_id audit_log.actor audit_log.subject audit_log.tenant_id
        batch_lines.bulk_id batches.bulk_id batches.error_file_id batches.id batches.input_file_id
        batches.output_file_id batches.tenant_id bulks.id bulks.tenant_id cancellations.id cancellations.last_job
        cancellations.tenant_id conversations.id conversations.tenant_id
        events.job_id files.batch_id files.id files.tenant_id idempotency_keys.resource_id idempotency_keys.tenant_id
        image_embeddings.image_id image_embeddings.tenant_id images.id images.job_id inputs.job_id job_words.job_id
        job_words.tenant_id jobs.bulk_id jobs.flow jobs.id jobs.owner jobs.retry_of jobs.tenant_id labels.image_id
        labels.job_id labels.tenant_id leaders.owner pauses.actor pauses.id presets.tenant_id response_inputs.job_id
        tenants.id turns.conversation_id turns.id turns.job_id turns.parent_id unique_keys.job_id unique_keys.scope
        unique_keys.tenant_id usage.tenant_id webhook_attempts.delivery_id webhook_deliveries.endpoint_id
        webhook_deliveries.event_id webhook_deliveries.id webhook_deliveries.receiver webhook_deliveries.tenant_id
        webhook_endpoints.id webhook_endpoints.tenant_id webhook_events.id webhook_events.subject_id
        webhook_events.tenant_id webhook_secrets.owner_id
    """,
    "a word from a list of the service's": """
        api_keys.scopes audit_log.action batches.endpoint batches.outcome batches.state bulks.state
        cancellations.model cancellations.priority cancellations.state events.kind files.purpose images.media_type
        jobs.error_code jobs.model jobs.state leaders.duty pauses.kind tenants.safety webhook_attempts.error
        webhook_deliveries.state webhook_endpoints.event_types webhook_events.type
    """,
    "a hash or a random secret": """
        api_keys.digest files.sha256 garbage.sha256 idempotency_keys.digest images.recipe images.sha256 inputs.sha256
        secrets.value unique_keys.digest webhook_secrets.secret
    """,
    "numbers, ids and codes that the service writes": """
        bulks.duplicates events.detail idempotency_keys.answer webhook_events.data webhook_attempts.request_headers
    """,
    "a date, a number of hours, or a trace's id": "batches.completion_window jobs.traceparent usage.day",
    "an address of the service or of a receiver": "batches.origin webhook_attempts.address",
    "a vector of a picture, deleted with it, and its encoder": "image_embeddings.encoder image_embeddings.vector",
    "the operator's words": "pauses.subject secrets.name tenants.blocked_terms tenants.name",
}
"""The columns that cannot hold a tenant's words, by the reason."""
OF_THE_ACCOUNT: Final = """
    api_keys.label audit_log.detail pauses.reason presets.name presets.settings webhook_endpoints.name
    webhook_endpoints.url
"""
"""What belongs to no job: it stays until the tenant deletes it (presets: ADR 0151); the audit log stays always."""
WITHOUT_PROMPT: Final = """
    bulks.webhook idempotency_keys.key jobs.error_message jobs.webhook webhook_attempts.error_message
    webhook_attempts.url webhook_deliveries.url
"""
"""What stays of a job whose prompt was deleted: receivers' addresses, the client's own keys for a day (ADR 0037), and
the service's words about a failure, which name limits and quote no prompt."""


def written(database: Database) -> set[str]:
    """The columns in which the word is."""
    found: set[str] = set()
    with database.read() as session:
        for table in Base.metadata.sorted_tables:
            for row in session.execute(select(table)).mappings():
                found |= {f"{table.name}.{name}" for name, value in row.items() if WORD in str(value)}
    return found


def columns() -> set[str]:
    """The columns that can hold words by their type."""
    return {
        f"{table.name}.{column.name}"
        for table in Base.metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, (String, JSON, LargeBinary))
    }


def stored_words(app: App) -> list[str]:
    """The stored files in which the word is."""
    return [file.name for file in files(app) if WORD.encode() in file.read_bytes()]


def expect(answer: Any) -> Any:
    assert answer.status_code < 400, answer.text
    return answer.get_json() if answer.is_json and answer.data else None


def write_jobs(app: App, client: ApiClient) -> None:
    """Jobs of all kinds: with receipts, labels, a webhook and an error."""
    use_all_features(app, client)
    drawn, failed = submit(client, webhook=URL), submit(client, webhook=URL)
    services, claim = app.extensions["limner"], start(app, drawn["id"])
    seen: dict[str, Any] = {"recognised": False, "unclear": [WORD]}
    picture, receipt = png("blue"), {"drawn_as": WORD, "scene": {"words": WORD}, "recognition": seen}
    image = NewImage(services.blobs.put(picture), "image/png", 64, 32, len(picture), 7, receipt, f"a {WORD}")
    with services.database.write() as session:
        ledger.finish(session, [ledger.Result(drawn["id"], claim.attempt, [image])])
        [lost] = ledger.claim(session, [failed["id"]], "a worker", 60)
        error = GenerationFailed(f"no {WORD}")
        ledger.settle(session, [ledger.Result(failed["id"], lost.attempt, error=error)])
    [image_view] = client.get(drawn["links"]["self"]).json["images"]
    for subject in (drawn["links"]["self"], image_view["url"]):
        expect(client.put(f"{subject}/tags/{WORD}"))
    lines = jsonl({"prompt": WORD}, {"prompt": "x", WORD: 1})
    where = f"/api/v1/bulks?on_error=skip&webhook={URL}"
    bulk = expect(client.post(where, data=lines, content_type=JSONL))
    expect(client.post(bulk["links"]["cancel"]))
    with services.database.write() as session:
        ledger.sweep_bulk(session, bulk["id"], 100)


def write_at_doors(app: App, client: ApiClient) -> None:
    """Responses, predictions, files and batches."""
    body = {"input": f"a {WORD}", "tools": [TOOL], "background": True, "metadata": {"for": WORD}}
    response = expect(client.post("/v1/responses", json=body))
    finish(app, start(app, response["job_id"]), png("red"))
    inputs = {"input": {"prompt": f"a {WORD}"}, "webhook": URL}
    prediction = expect(client.post("/replicate/v1/models/limner/canvas/predictions", json=inputs))
    finish(app, start(app, prediction["id"]), png("red"))
    content = (io.BytesIO(WORD.encode()), f"{WORD}.bin", f"image/{WORD}")
    form = {"content": content, "metadata": f'{{"for": "{WORD}"}}'}
    expect(client.post("/replicate/v1/files", data=form, content_type="multipart/form-data"))
    for wish in ({"prompt": f"a {WORD}", "user": WORD}, {"prompt": "x", WORD: 1}):
        line = jsonl(call_line(f"{WORD} 1", EDIT, wish))
        form = {"purpose": "batch", "file": (io.BytesIO(line), f"{WORD}.jsonl")}
        file = expect(client.post("/v1/files", data=form, content_type="multipart/form-data"))["id"]
        fields = {"input_file_id": file, "endpoint": EDIT, "completion_window": "24h", "metadata": {"for": WORD}}
        expect(client.post("/v1/batches", json=fields))
    loader = BatchLoader(app.extensions["limner"])
    while loader.load_next():
        pass
    for job in client.get("/api/v1/jobs?status=queued").json["items"]:
        finish(app, start(app, job["id"]), png("red"))
    while loader.finish_next():
        pass


def write_account(client: ApiClient, database: Database) -> None:
    """What does not belong to a job: presets, keys, endpoints of webhooks, a pause of the own queue."""
    expect(client.put(f"/api/v1/presets/{WORD}", json={"negative_prompt": WORD}))
    expect(client.post("/api/v1/keys", json={"label": WORD}, headers=make_key(database, "local", "admin")))
    fields = {"name": WORD, "url": URL, "event_types": ["job.succeeded"]}
    expect(client.post("/api/v1/webhook_endpoints", json=fields))
    expect(client.put("/api/v1/pause", json={"reason": WORD}))


def deliver(database: Database) -> None:
    """Act as the dispatcher: the bodies of events have the words of their jobs, and receivers answer with them."""
    with database.write() as session:
        of_jobs = WebhookEvent.subject_id.startswith("job_")
        session.execute(update(WebhookEvent).where(of_jobs).values(body=WORD))
        session.execute(update(WebhookDelivery).values(state="delivered", ended_at=now()))
        joined = select(WebhookDelivery.id).join(WebhookEvent, WebhookEvent.id == WebhookDelivery.event_id)
        for delivery in session.scalars(joined.where(of_jobs)).all():
            tried = {"delivery_id": delivery, "number": 1, "url": URL, "answer": WORD, "error_message": WORD}
            session.execute(insert(WebhookAttempt).values(request_headers={}, seconds=1.0, created_at=now(), **tried))


def run_retention(app: App, database: Database) -> None:
    """Run the retention an hour after everything was sent: so long a client can read what a batch has made."""
    services = app.extensions["limner"]
    with database.write() as session:
        session.execute(update(Batch).values(ended_at=now() - 3601))
        session.execute(update(StoredFile).values(created_at=now() - 3601))
    for file in files(app):
        os.utime(file, (1, 1))
    for _ in range(3):
        retention = Retention(services.database, services.blobs, NO_GRACE)
        while retention.is_due:
            retention.run()
    BlobSweep(services.database, services.blobs, aside_seconds=NO_GRACE).finish_deletions()


@pytest.fixture
def filled(app: App, client: ApiClient, database: Database) -> set[str]:
    """The columns with the word, after a tenant has sent it in every way."""
    write_jobs(app, client)
    write_at_doors(app, client)
    write_account(client, database)
    deliver(database)
    return written(database)


@both_databases
def test_every_column_that_can_hold_a_tenants_words_is_written_and_emptied_with_its_jobs(
    app: App, database: Database, redis_url: str, filled: set[str]
):
    exempt = " ".join(REASONS.values()).split()
    assert sorted(columns() - filled) == sorted(exempt), "give each column the word, or a reason in REASONS"
    assert stored_words(app), "no file has the word"
    set_retention(database, keep_jobs_days=0)
    run_retention(app, database)
    assert sorted(written(database)) == OF_THE_ACCOUNT.split()
    assert tables_with_word(database) == {each.partition(".")[0] for each in OF_THE_ACCOUNT.split()}
    assert files(app) == []
    assert not [found for found in redis_entries(redis_url) if WORD in found]


@both_databases
@pytest.mark.usefixtures("filled")
def test_no_text_of_a_job_is_left_where_prompts_are_not_kept(app: App, database: Database):
    set_retention(database, keep_prompts_days=0)
    run_retention(app, database)
    assert sorted(written(database)) == sorted([*OF_THE_ACCOUNT.split(), *WITHOUT_PROMPT.split()])
    assert stored_words(app) == []
