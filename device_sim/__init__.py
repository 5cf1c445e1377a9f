"""A simulated fleet: chips, their makers, custodians and authority, and those who cheat.

It meets the ledger where anybody would: at the public wire (``ledger.protocol``) and through the
client (``api.client``). A run is decided by its scenario and its seed.
"""
