"""Where the published test vectors and data sets lie: beside the repository, never in it."""

import os
from pathlib import Path

import pytest

_BESIDE = Path(__file__).resolve().parents[2] / "shared"


def vectors_dir() -> Path:
    """Folder of published vectors; skips the caller (a test or a whole module) without it."""
    return _folder("vectors", "CHIP_PASSPORT_VECTORS")


def data_dir() -> Path:
    """Folder of published data sets; skips the caller (a test or a whole module) without it."""
    return _folder("data", "CHIP_PASSPORT_DATA")


def _folder(name: str, variable: str) -> Path:
    path = Path(os.environ.get(variable) or _BESIDE / name)
    if not path.is_dir():
        pytest.skip(
            f"published {name} not found at {path} (set {variable})", allow_module_level=True
        )
    return path
