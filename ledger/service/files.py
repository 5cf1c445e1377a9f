"""Files that appear whole or not at all, and stay."""

import os
from contextlib import suppress
from pathlib import Path


def replace_file(path: Path, data: bytes, *, ending: str = ".part") -> None:
    """Put a file in place, by way of ``path`` with ``ending``; raises OSError.

    Its content is durable; that it has its name is so only after ``sync_folder``.
    """
    part = path.with_name(f"{path.name}{ending}")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
