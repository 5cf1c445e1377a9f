"""Files that commands are given and leave: one line where it cannot be done."""

from pathlib import Path

from api.cli.errors import UsageError
from ledger.service.files import replace_file


def read(path: Path) -> bytes:
    """The whole file."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error


def write(path: Path, data: bytes) -> None:
    """The whole file or none of it; a device or a pipe is written to, not replaced."""
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(data)
        else:
            replace_file(path, data)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
