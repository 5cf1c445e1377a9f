"""The domain of Chip Passport: protocol, log, appraisal, passport, store, service.

Nothing in here speaks HTTP or reads a command line; `api` does that.
"""
