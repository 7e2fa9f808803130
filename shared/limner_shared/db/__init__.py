"""The database: engine, tables, queries, and every write to a job (`ledger`)."""
