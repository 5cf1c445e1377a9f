"""A dishonest seller: takes the decisions out of a chip's bundle.

python seller.py TRUE.passport CHANGED.passport
"""

import sys
from pathlib import Path

from ledger.bundle.format import Bundle

true, changed = map(Path, sys.argv[1:])
bundle = Bundle.decode(true.read_bytes())
kept = [entry for entry in bundle.entries() if entry.kind != "decision"]
changed.write_bytes(Bundle.of(bundle.head, kept).encode())
