"""Places and borders: which countries a claimed position may lie in."""
