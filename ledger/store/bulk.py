"""Many rows at once, without the ORM's cost per row.

One function a kind of write, the same on both engines: SQLite takes prepared statements with
tuples, PostgreSQL takes COPY for inserts (four times faster than executemany) and executemany for
the rest. Column order is that of ``columns``; every row is a tuple of plain values.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

Row = tuple[Any, ...]


def insert_rows(
    connection: Connection, table: Any, columns: Sequence[str], rows: Sequence[Row]
) -> None:
    """Insert rows; a violated constraint raises and the transaction is lost."""
    if not rows:
        return
    names = _names(columns)
    if connection.dialect.name == "postgresql":
        driver: Any = connection.connection.driver_connection
        with (
            driver.cursor() as cursor,
            cursor.copy(f"COPY {_quoted(table.name)} ({names}) FROM STDIN") as copy,
        ):
            for row in rows:
                copy.write_row(row)
        return
    marks = ", ".join("?" * len(columns))
    statement = f"INSERT INTO {_quoted(table.name)} ({names}) VALUES ({marks})"  # noqa: S608
    connection.exec_driver_sql(statement, list(rows))


def update_rows(
    connection: Connection, table: Any, columns: Sequence[str], key: str, rows: Sequence[Row]
) -> None:
    """Set ``columns`` in the rows named by ``key``; each tuple ends with the key's value."""
    if not rows:
        return
    mark = "%s" if connection.dialect.name == "postgresql" else "?"
    changes = ", ".join(f"{_quoted(column)} = {mark}" for column in columns)
    statement = f"UPDATE {_quoted(table.name)} SET {changes} WHERE {_quoted(key)} = {mark}"  # noqa: S608
    connection.exec_driver_sql(statement, list(rows))


def _names(columns: Sequence[str]) -> str:
    return ", ".join(map(_quoted, columns))


def _quoted(name: str) -> str:
    """Names come from our own tables; quoting covers words such as ``count`` and ``conflict``."""
    return f'"{name}"'
