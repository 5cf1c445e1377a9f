"""Use cases joined to storage: admit, sequence, publish, follow, history, check."""
