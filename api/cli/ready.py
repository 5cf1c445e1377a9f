"""How a program that serves says that requests are answered now."""

import contextlib
import sys
from pathlib import Path

from ledger.service.files import replace_file


def tell_ready(url: str, more: str, ready_file: Path | None) -> None:
    """Write the address to ``ready_file`` if there is one, and a line about it to stdout."""
    if ready_file is not None:
        # Whoever waits for the file must not find half of it.
        replace_file(ready_file, f"{url}\n".encode())
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(f"listening on {url} ({more})\n")
        sys.stdout.flush()
