"""No statement that concerns some keys reads all of them, with both databases."""

from __future__ import annotations

from bench.statements import LARGE_ROWS, recorded, scans
from sqlalchemy import text

from limner_shared.db.accounts import keys
from limner_shared.db.engine import Database
from limner_shared.db.ledger import LOCAL_TENANT, ensure_tenant

KEYS = 3 * LARGE_ROWS
FILL = """
WITH RECURSIVE numbers (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < :keys)
INSERT INTO api_keys (id, tenant_id, label, digest, scopes, created_at, expires_at, expiry_recorded)
SELECT 'key' || number, 'other', 'session of ' || number, '', 'read', number, number, true FROM numbers
"""


def test_statements_of_keys_use_an_index(database: Database):
    with database.write() as session:
        ensure_tenant(session, "other", "other")
        session.execute(text(FILL), {"keys": KEYS})
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
        connection.commit()
    with recorded(database) as statements, database.write() as session:
        keys.tenant_keys(session, LOCAL_TENANT, 9)
        keys.tenant_keys(session, "other", 9, "key100")
        keys.record_expired(session, 9)
        keys.delete_ended_sessions(session, f"{keys.SESSION_LABEL}someone")
    found = scans(database, statements)
    if database.engine.dialect.name == "sqlite":
        found += scans(database, statements, without_statistics=True)
    assert not found, "\n\n".join(found)
