"""The one place that reads the packaged file of cells: bytes out, nothing interpreted."""

from pathlib import Path

from ledger.errors import ConfigurationError

CELLS_PATH = Path(__file__).with_name("data") / "cells.bin.gz"


def read_cells() -> bytes:
    """The bytes of the packaged file.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    try:
        return CELLS_PATH.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"{CELLS_PATH} cannot be read ({error.strerror}); restore it from the repository or "
            "the wheel, or rebuild it: python -m ledger.location.build"
        ) from error
