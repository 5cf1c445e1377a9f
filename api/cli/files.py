"""Files that commands are given and leave: one line where it cannot be done."""

from pathlib import Path

from api.cli.errors import UsageError


def read(path: Path) -> bytes:
    """The whole file."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error


def write(path: Path, data: bytes) -> None:
    """The whole file or none of it."""
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
