"""Durable rows: the log, the registry and the verifier's cases, on SQLite or PostgreSQL."""
