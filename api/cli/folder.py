"""The demo's output folder: made, recognised, replaced; never taken from anybody else."""

import json
import shutil
from pathlib import Path
from typing import Any

from ledger.errors import ConfigurationError
from ledger.service.files import replace_file

MARK = ".chip-passport-demo"
"""File that says that a folder's contents are a demo's and may be replaced."""
DATABASE, REPORT, LOG, KEYS = "ledger.db", "report.json", "service.log", "ledger.db.keys"
TRUST = "trust.policy"
_BESIDE_DATABASE = ("", "-wal", "-shm", "-journal", ".signed")
_MARK_TEXT = "Made by chip-passport demo, which replaces what lies in here.\n"


class DemoFolder:
    """A folder that holds, or is to hold, one demo's ledger, keys, log and report."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = path / DATABASE
        self.report = path / REPORT
        self.log = path / LOG
        self.keys = path / KEYS
        self.trust = path / TRUST

    def prepare(self) -> bool:
        """Make it, or empty it of an earlier demo; True where there was one.

        Raises ConfigurationError where it holds anything else, or a demo is running in it.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ConfigurationError(f"{self.path} is a file; name another folder with --out")
        if not self.path.is_dir() or not any(self.path.iterdir()):
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / MARK).write_text(_MARK_TEXT)
            return False
        if not (self.path / MARK).is_file():
            raise ConfigurationError(
                f"{self.path} is not an earlier demo's folder; name another one with --out"
            )
        self._empty()
        return True

    def write_report(self, report: dict[str, Any]) -> None:
        """Write the report, whole or not at all."""
        write_json(self.report, report)

    def _empty(self) -> None:
        from ledger.store.engine import WriterLock

        lock = WriterLock(str(self.database))  # refuses while a demo runs here
        try:
            for ending in _BESIDE_DATABASE:  # the lock file stays, it is ours until the end
                (self.path / f"{DATABASE}{ending}").unlink(missing_ok=True)
            self.report.unlink(missing_ok=True)
            self.log.unlink(missing_ok=True)
            self.trust.unlink(missing_ok=True)
            if self.keys.is_dir():
                shutil.rmtree(self.keys)
        finally:
            lock.release()


def write_json(path: Path, value: dict[str, Any]) -> None:
    """A JSON file that appears whole or not at all."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    replace_file(path, f"{text}\n".encode())
