"""The public wire: deterministic CBOR, COSE_Sign1, keys, and every statement kind."""
