"""Passport bundles: one chip's whole history in a file that is checked without a ledger.

Bytes in, findings out: no database, no network, no clock. ``docs/bundle.md`` has the format.
"""
