"""What a client says that it takes: media types, content codings, and what it holds already.

A field that cannot be read says nothing; it is no reason to refuse a request (RFC 9110, 12.5).
"""

import re
from collections.abc import Iterable

GZIP = "gzip"
IDENTITY = "identity"

_WEIGHT = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")
_TAG = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')


def weights(fields: Iterable[str]) -> dict[str, float]:
    """Weight from 0 to 1 of each range that is named, in lower case and without parameters.

    1 where none is given; of a range named twice the higher one. A member whose weight cannot be
    read is passed over.
    """
    found: dict[str, float] = {}
    for member in ",".join(fields).split(","):
        name, *parameters = (part.strip().lower() for part in member.split(";"))
        given = [part[2:] for part in parameters if part.startswith("q=")] or ["1"]
        if name and _WEIGHT.fullmatch(given[0]):
            found[name] = max(found.get(name, 0.0), float(given[0]))
    return found


def names(fields: Iterable[str], media: str) -> bool:
    """Whether Accept names ``media`` as something that is wanted; wildcards do not count."""
    return weights(fields).get(media, 0.0) > 0


def takes_gzip(fields: Iterable[str]) -> bool:
    """Whether Accept-Encoding takes gzip, and not rather the bytes as they are.

    Without the field a client is given the bytes as they are: it may know nothing else.
    """
    found = weights(fields)
    anything = found.get("*", 0.0)
    gzip = max(found.get(GZIP, -1.0), found.get("x-gzip", -1.0))
    gzip = anything if gzip < 0 else gzip
    return gzip > 0 and gzip >= found.get(IDENTITY, anything)


def holds(fields: Iterable[str], tag: str) -> bool:
    """Whether If-None-Match names ``tag``, an entity tag with its quotes, or ``*``.

    Compared weakly (RFC 9110, 13.1.2).
    """
    given = ",".join(fields)
    return given.strip() == "*" or tag in _TAG.findall(given)
