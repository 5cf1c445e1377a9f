"""The one place that reads the border files: bytes out, nothing interpreted."""

from pathlib import Path
from typing import TypeAlias

from ledger.errors import ConfigurationError
from ledger.geo.codec import REMEDY

FilePath: TypeAlias = Path

DATA = Path(__file__).with_name("data")
BORDERS_PATH = DATA / "borders-10m.bin.gz"
DISPLAY_PATH = DATA / "borders-display.json.gz"


def read(path: FilePath) -> bytes:
    """The bytes of a border file.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({error.strerror}); {REMEDY}") from error
