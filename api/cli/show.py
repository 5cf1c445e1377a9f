"""Tables for people: passports, decisions, a chip's life."""

from collections.abc import Iterable
from itertools import islice
from typing import Any

from api.cli.life import Line
from api.cli.output import UNLIMITED_WIDTH, console, draw, moment, notice

STATE_STYLES = {"held": "bold red", "revoked": "bold red", "active": "green"}
ACTION_STYLES = {"hold": "bold red", "revoke": "bold red", "release": "green"}
VERIFIER = "verifier"
"""Author of a flag that the chip's own heartbeats set; any other is a party that says so."""
INDENT = 4
WIDE = 110
"""Columns from which on kind and signer of an entry have a column each."""


def devices(found: Iterable[dict[str, Any]], limit: int | None) -> None:
    """One row a chip; on a narrow screen a line with its number and one below it."""
    items, more = _first(found, limit)
    screen = console()
    table = _device_table(items)
    if not items:
        screen.print("no chip fits")
    elif _natural_width(screen, table) <= screen.width:
        draw(screen, table)
    else:
        for item in items:
            screen.print(item["ueid"], item["model"], _state(item), sep="  ")
            rest = f"{_holder(item)}; {_where(item)}; last heartbeat {_last(item)}"
            _indented(screen, rest)
            for reason in item["flag_reasons"]:
                _indented(screen, f"{reason['flag']}: {reason['words']}")
    _tell_more(more)


def _device_table(items: list[dict[str, Any]]) -> Any:
    table = _table("chip", "model", "state", "holder", "place", "last heartbeat (UTC)")
    for item in items:
        table.add_row(
            item["ueid"], item["model"], _state(item), _holder(item), _where(item), _last(item)
        )
    return table


def decisions(found: Iterable[dict[str, Any]], limit: int | None) -> None:
    """A heading for each decision, and its reasons indented below."""
    from rich.text import Text

    from ledger.passport.words import reasons_once

    items, more = _first(found, limit)
    screen = console()
    for item in items:
        action = item["action"]
        heading = Text.assemble(
            (moment(item["effective_ms"]), "dim"),
            "  ",
            (f"{action.upper():<7}", ACTION_STYLES.get(action, "")),
            f"  {item['ueid']}",
        )
        signer = Text(f"by {item['signer']}", "dim")
        if heading.cell_len + 2 + signer.cell_len <= screen.width:
            screen.print(heading.append("  ").append_text(signer))
        else:
            screen.print(heading)
            _indented(screen, signer)
        for reason in reasons_once(item["rules"], item["reasons"]):
            _indented(screen, reason)
    if not items:
        screen.print("no decision fits")
    _tell_more(more)


def tokens(found: Iterable[dict[str, Any]]) -> None:
    """One row an access token."""
    table = _table("id", "role", "party", "created (UTC)", "expires (UTC)", "state", "label")
    items = list(found)
    for item in items:
        expires = "never" if item["expires_ms"] is None else moment(item["expires_ms"])
        row = (item["id"], item["role"], item["party"] or "–", moment(item["created_ms"]), expires)
        table.add_row(*row, item["state"], item["label"])
    screen = console()
    if items:
        draw(screen, table)
    else:
        screen.print("no access token was made")


def life(found: Iterable[Line], limit: int | None) -> None:
    """A chip's entries in order."""
    items, more = _first(found, limit)
    screen = console()
    wide = screen.width >= WIDE
    who = ("kind", "signed by") if wide else ("kind, signer",)
    table = _table("entry", "received (UTC)", *who, "what it says")
    for line in items:
        table.add_row(*_life_row(line, wide))
    draw(screen, table)
    _tell_more(more)


def entries(found: Iterable[dict[str, Any]], limit: int | None) -> None:
    """A chip's entries in order, each with its leaf hash and its statement's digest."""
    from rich.text import Text

    items, more = _first(found, limit)
    screen = console()
    for item in items:
        heading = f"{item['index']}  {moment(item['received_ms'])}  {item['kind']}  "
        screen.print(Text.assemble(heading, (f"by {item['signer'] or '–'}", "dim")))
        _indented(screen, Text(item["meaning"], _life_style(item)))
        _indented(screen, Text(f"leaf {item['leaf_hash']}", "dim"))
        _indented(screen, Text(f"statement {item['statement_digest']}", "dim"))
    _tell_more(more)


def _life_row(line: Line, wide: bool) -> tuple[Any, ...]:
    from rich.text import Text

    item = line.item
    signer = item["signer"] or "–"
    who = (item["kind"], signer) if wide else (f"{item['kind']}\n{signer}",)
    words = Text(line.words, _life_style(item))
    return str(item["index"]), moment(item["received_ms"]), *who, words


def _life_style(item: dict[str, Any]) -> str:
    if item["reason"]:
        return "yellow"
    if item["kind"] == "decision":
        return ACTION_STYLES.get(str(item["meaning"]).partition(",")[0].lower(), "bold")
    return ""


def _table(*headings: str) -> Any:
    """A table whose last column takes what the others leave."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in headings[:-1]:
        table.add_column(heading, no_wrap=True)
    table.add_column(headings[-1], overflow="fold")
    return table


def _state(item: dict[str, Any]) -> Any:
    from rich.text import Text

    text = Text(item["state"], STATE_STYLES.get(item["state"], ""))
    accused = {
        reason["flag"]: f" (says {reason['author'] or 'another party'})"
        for reason in item["flag_reasons"]
        if reason["author"] != VERIFIER
    }
    flags = (f", {flag}{accused.get(flag, '')}" for flag in item["flags"])
    return text.append("".join(flags), "yellow")


def _holder(item: dict[str, Any]) -> str:
    holder = str(item["holder"]["id"])
    to = item["in_transit_to"]
    return f"{holder}, on the way to {to}" if to else holder


def _where(item: dict[str, Any]) -> str:
    """Where papers put it, and where it claims to be if that is another country."""
    place = item["place"]
    papers = " ".join(part for part in (place["country"], place["site"]) if part) or "–"
    claimed = place["claimed"]
    if claimed and place["country"] not in claimed["countries"]:
        return f"{papers} but claims {' or '.join(claimed['countries'])}"
    return papers


def _last(item: dict[str, Any]) -> str:
    heartbeat = item["last_heartbeat"]
    return moment(None if heartbeat is None else heartbeat["received_ms"])


def _first(found: Iterable[Any], limit: int | None) -> tuple[list[Any], bool]:
    """At most ``limit`` of them, and whether there are more."""
    rest = iter(found)
    items = list(rest if limit is None else islice(rest, limit))
    return items, limit is not None and next(rest, None) is not None


def _natural_width(screen: Any, table: Any) -> int:
    """Columns that a table takes where nothing is wrapped or cut."""
    from rich.measure import Measurement

    roomy = screen.options.update(max_width=UNLIMITED_WIDTH)
    return int(Measurement.get(screen, roomy, table).maximum)


def _indented(screen: Any, text: Any) -> None:
    from rich.padding import Padding

    draw(screen, Padding(text, (0, 0, 0, INDENT), expand=False))


def _tell_more(more: bool) -> None:
    if more:
        notice("there are more; --all shows all, --limit N another number")
