"""Alembic migrations of the ledger's tables; ``ledger.store.schema`` runs them."""
