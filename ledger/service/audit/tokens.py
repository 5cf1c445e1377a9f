"""The part of a check that is about access tokens.

They do not follow from the log: who may read is the operator's to say, and a check cannot tell who
said it. But each row has to be one that the program writes, or its token would mean nothing.
"""

from sqlalchemy import Connection, select

from ledger.service.audit.report import FaultFound
from ledger.service.tokens import token_from
from ledger.service.viewer import AccessRole
from ledger.store.registry_rows import party_table
from ledger.store.token_rows import read_tokens


def check_tokens(connection: Connection) -> None:
    """Every stored token has its form, and a holder's is for a registered party."""
    for stored in read_tokens(connection):
        place = f"table access_tokens, row {stored.id[:16]}"
        token = token_from(stored)
        if token is None:
            raise FaultFound(place, "it is not a row that is ever written")
        if token.role is AccessRole.HOLDER:
            query = select(party_table.c.id).where(party_table.c.id == token.party)
            if connection.execute(query).first() is None:
                raise FaultFound(place, f"no party {token.party} is registered")
