"""The packages keep to their levels; and the checker itself finds what it should find."""

from pathlib import Path

import pytest

from tests.architecture import check, load, parse

ROOT = Path(__file__).resolve().parent.parent


def faults(sources: dict[str, str]) -> list[str]:
    """Faults of a synthetic tree, given as ``{"ledger/log/note": source}``."""
    return check(parse({f"{name}.py": text for name, text in sources.items()}))


def test_the_packages_keep_to_the_architecture() -> None:
    modules = load(ROOT)
    assert "ledger.errors" in modules, "no modules found: the check would pass without looking"
    found = check(modules)
    assert not found, "\n".join(["the architecture is broken:", *found])


@pytest.mark.parametrize(
    ("module", "source", "words"),
    [
        ("ledger/errors", "from ledger import values, log", "(level 1, higher)"),
        ("ledger/errors", "import cbor2", "imports cbor2"),
        ("ledger/log/tiles", "from ledger.store import rows", "ledger.store (level 2, higher)"),
        ("ledger/log/tiles", "from ..store.rows import Row", "ledger.store.rows (level 2"),
        ("ledger/log/tiles", "import sqlmodel", "imports sqlmodel"),
        ("ledger/store/rows", "import ledger.service.admit", "ledger.service.admit (level 3"),
        ("ledger/store/rows", "import fastapi", "imports fastapi"),
        ("ledger/service/admit", "def f():\n    import api.app", "api.app (level 4, higher)"),
        ("ledger/service/admit", "import httpx", "imports httpx"),
        ("api/app", "import leftpad", "imports leftpad"),
        ("ledger/novelty", "", "no level is set"),
        ("device_sim/run", "from ledger.service import admit", "may import only"),
        ("device_sim/run", "from ledger.log import merkle", "may import only"),
        ("device_sim/run", "import api.app", "may import only"),
    ],
)
def test_import_of_a_higher_level_or_foreign_package_is_found(
    module: str, source: str, words: str
) -> None:
    found = faults({module: source})
    assert len(found) == 1
    assert words in found[0]


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "import random",
        "from secrets import token_bytes",
        "import os",
        "from os import environ",
        "import socket",
        "import http.client",
        "from urllib.request import urlopen",
        "import pathlib",
        "import asyncio",
        "open('borders.gz')",
        "import gzip\ngzip.open('borders.gz')",
        "print('found')",
        "import uuid\nuuid.uuid4()",
        "import numpy as np\nnp.random.rand()",
        "from nacl.signing import SigningKey\nSigningKey.generate()",
        "from datetime import datetime\ndatetime.now(None)",
        "import datetime\ndatetime.datetime.utcnow()",
        "from datetime import date\ndate.today()",
    ],
)
@pytest.mark.parametrize(
    "module",
    [
        "ledger/protocol/cose",
        "ledger/log/note",
        "ledger/appraisal/rules",
        "ledger/passport/check",
        "ledger/registry",
        "ledger/geo/sphere",
    ],
)
def test_clock_randomness_file_or_network_in_the_core_is_found(module: str, source: str) -> None:
    assert faults({module: source})


@pytest.mark.parametrize("source", ["import time\ntime.time()", "import time\ntime.time_ns()"])
@pytest.mark.parametrize("module", ["ledger/service/publish", "ledger/store/engine"])
def test_wall_clock_in_storage_or_service_is_found(module: str, source: str) -> None:
    assert faults({module: source})


def test_cycle_is_found_and_drawn() -> None:
    found = faults(
        {
            "ledger/log/tiles": "from ledger.log import note",
            "ledger/log/note": "from ledger.log.merkle import root",
            "ledger/log/merkle": "def f():\n    from . import tiles",
        }
    )
    assert found == [
        "import cycle: ledger.log.tiles -> ledger.log.note -> ledger.log.merkle -> ledger.log.tiles"
    ]


def test_client_that_leads_the_simulator_into_the_server_is_found() -> None:
    found = faults(
        {
            "device_sim/run": "from api.client import Client",
            "api/client": "from api.schemas import Receipt",
            "api/schemas": "from ledger.store import rows",
            "ledger/store/rows": "",
        }
    )
    assert len(found) == 1
    assert "api.client -> api.schemas -> ledger.store.rows" in found[0]


def test_package_that_loads_the_server_beside_the_client_is_found() -> None:
    found = faults(
        {
            "device_sim/run": "from api.client import Client",
            "api/__init__": "from ledger.service import admit",
            "api/client": "",
            "ledger/service/admit": "",
        }
    )
    assert len(found) == 1
    assert "api.client -> api -> ledger.service.admit" in found[0]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("ledger/log/note", "import hashlib\nfrom ledger.errors import Reason\nimport nacl"),
        ("ledger/log/note", "from io import BytesIO\nBytesIO(b'').read()"),
        ("ledger/log/note", "import re\nre.compile('x').search('y')"),
        ("ledger/geo/loader", "import gzip, pathlib\npathlib.Path('x').read_bytes()"),
        ("ledger/service/publish", "import time\ntime.monotonic()"),
        ("ledger/service/clock", "import time\ntime.time_ns()"),
        ("ledger/store/rows", "from ledger.log import tiles\nimport sqlmodel"),
        ("api/app", "import fastapi, time\nfrom ledger.service import admit\ntime.time()"),
        ("device_sim/run", "from ledger.protocol import cose\nfrom api.client import Client"),
    ],
)
def test_module_that_keeps_to_its_level_is_accepted(module: str, source: str) -> None:
    assert faults({module: source}) == []


def test_package_that_exports_its_modules_is_no_cycle() -> None:
    assert not faults(
        {
            "ledger/log/__init__": "from ledger.log.note import sign",
            "ledger/log/note": "from ledger.log.merkle import root",
            "ledger/log/merkle": "",
        }
    )
