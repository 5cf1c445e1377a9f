"""Reference pages made from the code, so that they cannot fall behind it.

``python -m api.reference docs/reasons.md`` writes the page (``make docs``); a test compares them.
"""

import sys
from pathlib import Path

from ledger.errors import REASONS, Reason

_REASONS_HEAD = """\
# Reason codes

Made from `ledger/errors.py` by `make docs`; edit it there.

A message that is not accepted gets one of these codes, in its problem document (RFC 9457) or in
the answer for its item of a batch. A code is part of the wire format: it keeps its spelling and
its meaning.

| code | meaning | what to do |
| --- | --- | --- |
"""


def reasons_markdown() -> str:
    """The page of all reason codes in their published order (Markdown, ends with a newline)."""
    rows = (
        f"| `{reason.value}` | {_cell(REASONS[reason].title)} | {_cell(REASONS[reason].remedy)} |\n"
        for reason in Reason
    )
    return _REASONS_HEAD + "".join(rows)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main(arguments: list[str]) -> int:
    """Write the page to the file named, or to standard output; an option names no file."""
    if len(arguments) > 1 or any(word.startswith("-") for word in arguments):
        sys.stderr.write("give the file to write, or nothing\n")
        return 2
    page = reasons_markdown()
    if arguments:
        Path(arguments[0]).write_text(page, encoding="utf-8")
    else:
        sys.stdout.write(page)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
