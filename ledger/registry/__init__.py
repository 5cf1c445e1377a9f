"""What the log's entries add up to, and whether the next one may join.

One set of rules serves admission (before an entry is appended), the verifier (which follows the
log) and the check of a ledger (which replays it): ``judge`` says whether a message is accepted,
contradicts the record, or is refused, and changes nothing; ``apply`` changes the record.
"""
