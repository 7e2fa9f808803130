"""The database: engine, tables, queries, and all writes to jobs (`ledger`)."""
