"""Checking a ledger: the public face of ``ledger.service.audit``."""

from ledger.service.audit.check import Progress, check_ledger
from ledger.service.audit.report import CheckReport, Fault

__all__ = ["CheckReport", "Fault", "Progress", "check_ledger"]
