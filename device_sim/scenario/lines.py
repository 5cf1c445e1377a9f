"""Where each key of a TOML document stands: an index from path to line.

``tomllib`` checks the document and gives its values but forgets the places. This scanner walks the
same text, which is known to be valid by then, and notes the line of every key, table and array
element. Paths are tuples such as ``("cohort", 2, "incident", 0, "day")``.
"""

from ledger.errors import ChipPassportError

Path = tuple[str | int, ...]
_BARE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}


def line_index(text: str) -> dict[Path, int]:
    """Line (from 1) of every path in ``text``, a document that ``tomllib`` accepts."""
    return _Scanner(text).scan()


def line_of(index: dict[Path, int], path: Path) -> int:
    """Line of ``path``, or of the nearest table around it that the file shows; else 0."""
    for end in range(len(path), 0, -1):
        line = index.get(path[:end])
        if line is not None:
            return line
    return 0


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._index: dict[Path, int] = {}
        self._counts: dict[Path, int] = {}
        """Elements seen of each array of tables."""

    def scan(self) -> dict[Path, int]:
        table: Path = ()
        while True:
            self._skip_blank(newlines=True)
            char = self._peek()
            if not char:
                return self._index
            if char == "[":
                table = self._header()
            else:
                self._key_value(table)

    # -- statements -----------------------------------------------------------------------------

    def _header(self) -> Path:
        line = self._line
        self._move(1)
        is_array = self._peek() == "["
        if is_array:
            self._move(1)
        keys = self._key()
        self._move(2 if is_array else 1)
        path = self._resolve(keys[:-1])
        path += (keys[-1],)
        if is_array:
            count = self._counts.get(path, 0)
            self._counts[path] = count + 1
            self._note(path, line)
            path += (count,)
        elif path in self._counts:
            path += (self._counts[path] - 1,)
        self._note(path, line)
        return path

    def _resolve(self, keys: list[str]) -> Path:
        """Path of a table named by ``keys``; an array of tables stands for its last element."""
        path: Path = ()
        for key in keys:
            path += (key,)
            if path in self._counts:
                path += (self._counts[path] - 1,)
        return path

    def _key_value(self, table: Path) -> None:
        line = self._line
        path = table
        for key in self._key():
            path += (key,)
            self._note(path, line)
        self._move(1)  # "="
        self._value(path)

    def _note(self, path: Path, line: int) -> None:
        self._index.setdefault(path, line)

    # -- keys -----------------------------------------------------------------------------------

    def _key(self) -> list[str]:
        """A dotted key; leaves the scanner at the character after it ("=" or "]")."""
        parts = []
        while True:
            self._skip_blank()
            char = self._peek()
            if char in ("'", '"'):
                parts.append(self._string())
            else:
                start = self._at
                while self._peek() in _BARE and self._peek():
                    self._at += 1
                parts.append(self._text[start : self._at])
            self._skip_blank()
            if self._peek() != ".":
                return parts
            self._move(1)

    # -- values ---------------------------------------------------------------------------------

    def _value(self, path: Path) -> None:
        self._skip_blank()
        char = self._peek()
        if char in ("'", '"'):
            self._string()
        elif char == "[":
            self._array(path)
        elif char == "{":
            self._inline_table(path)
        else:  # a number, truth value or date ends at a delimiter
            while self._peek() and self._peek() not in ",]}#\n":
                self._at += 1

    def _array(self, path: Path) -> None:
        self._move(1)
        count = 0
        while True:
            self._skip_blank(newlines=True)
            if self._peek() == "]":
                self._move(1)
                return
            self._note((*path, count), self._line)
            self._value((*path, count))
            count += 1
            self._skip_blank(newlines=True)
            if self._peek() == ",":
                self._move(1)

    def _inline_table(self, path: Path) -> None:
        self._move(1)
        while True:
            self._skip_blank(newlines=True)
            if self._peek() == "}":
                self._move(1)
                return
            self._key_value(path)
            self._skip_blank(newlines=True)
            if self._peek() == ",":
                self._move(1)

    def _string(self) -> str:
        """A string of any of the four kinds; its value is exact for those that may be keys."""
        quote = self._peek()
        if self._text.startswith(quote * 3, self._at):
            self._multiline(quote)
            return ""
        self._move(1)
        out = []
        while (char := self._peek()) != quote:
            if not char:
                raise ChipPassportError("a string of the document does not end")
            out.append(self._escape() if char == "\\" and quote == '"' else char)
            self._move(1)
        self._move(1)
        return "".join(out)

    def _escape(self) -> str:
        """The character of an escape; leaves the scanner at the escape's last character."""
        self._move(1)
        code = self._peek()
        digits = {"u": 4, "U": 8}.get(code)
        if digits is None:
            return _ESCAPES.get(code, code)
        value = self._text[self._at + 1 : self._at + 1 + digits]
        self._move(digits)
        return chr(int(value, 16))

    def _multiline(self, quote: str) -> None:
        self._move(3)
        while not self._text.startswith(quote * 3, self._at):
            if not self._peek():
                raise ChipPassportError("a string of the document does not end")
            self._move(2 if self._peek() == "\\" and quote == '"' else 1)
        self._move(3)
        while self._peek() == quote:  # up to two quotes may stand before the closing three
            self._move(1)

    # -- characters -----------------------------------------------------------------------------

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _move(self, count: int) -> None:
        self._line += self._text.count("\n", self._at, self._at + count)
        self._at += count

    def _skip_blank(self, *, newlines: bool = False) -> None:
        while char := self._peek():
            if char == "#":
                while self._peek() not in ("", "\n"):
                    self._at += 1
            elif char in " \t\r" or (char == "\n" and newlines):
                self._move(1)
            else:
                return
