"""Re-deriving a whole ledger from its entries, and naming the first thing that does not fit."""
