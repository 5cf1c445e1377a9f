"""``python -m api.cli``: the same as ``chip-passport``."""

from api.cli import main

main()
