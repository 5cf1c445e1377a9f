"""Trust policies, per C2SP tlog-policy: which logs and witnesses count, and what a quorum is.

A policy is read from bytes, names are opaque: bytes that are no UTF-8 survive as surrogate
escapes, so two names are equal exactly when their bytes are.
"""

import re
from dataclasses import dataclass, field

from ledger.errors import Reason, Refused
from ledger.log.cosignature import LOG_TYPES, WITNESS_TYPES, note_verifier, parse_vkey
from ledger.log.vkey import Vkey

MAX_POLICY_SIZE = 1 << 20
MAX_ITEMS = 256
"""Logs, witnesses and groups, each; the standard asks for 32 at least."""

_BARRED = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
_BLANKS = re.compile(r"[ \t]+")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_NONE = "none"


@dataclass(frozen=True, slots=True)
class TrustedLog:
    """A log whose checkpoints are taken; the key's name is the log's origin."""

    vkey: Vkey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class TrustedWitness:
    """A witness; ``name`` means something within the policy only."""

    name: str
    vkey: Vkey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Witnesses a checkpoint if ``threshold`` of its members (witnesses or groups) do."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """A policy as :meth:`parse` gives it; ``quorum`` is None where no cosignature is asked for.

    Groups name only witnesses and groups before them.
    """

    logs: tuple[TrustedLog, ...]
    witnesses: tuple[TrustedWitness, ...]
    groups: tuple[Group, ...]
    quorum: str | None

    @classmethod
    def parse(cls, data: bytes) -> "TrustPolicy":
        """Read a policy file. Refused: NOTE_MALFORMED, KEY_INVALID (``field`` names the line),
        TOO_LARGE.

        The last line needs its newline too, or a file cut short could ask for less.
        """
        if len(data) > MAX_POLICY_SIZE:
            raise Refused(
                Reason.TOO_LARGE, f"a policy has at most {MAX_POLICY_SIZE} bytes", field="policy"
            )
        reader = _Reader()
        for number, line in enumerate(_lines(data), 1):
            try:
                reader.read(line)
            except Refused as error:
                raise Refused(error.reason, error.detail, field=f"policy line {number}") from error
        return reader.policy()

    def encode(self) -> bytes:
        """A policy file; parsing it gives this policy, or refuses what could not be written."""
        lines = [_words("log", log.vkey.encode(), log.url) for log in self.logs]
        lines += [_words("witness", w.name, w.vkey.encode(), w.url) for w in self.witnesses]
        lines += [_words("group", g.name, str(g.threshold), *g.members) for g in self.groups]
        lines.append(_words("quorum", self.quorum or _NONE))
        data = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
        if self.parse(data) != self:
            raise _malformed("a name or URL holds blanks, or the quorum is called none")
        return data


def _lines(data: bytes) -> list[str]:
    if _BARRED.search(data):
        raise _malformed("a policy has no control characters but tab and newline")
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    if lines.pop():
        raise _malformed("the last line of a policy ends in a newline like all others")
    return lines


@dataclass(slots=True)
class _Reader:
    """What the lines so far have defined."""

    logs: list[TrustedLog] = field(default_factory=list)
    witnesses: list[TrustedWitness] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    quorum: str | None = None
    names: set[str] = field(default_factory=set)
    members: set[str] = field(default_factory=set)
    identities: set[tuple[str, bytes]] = field(default_factory=set)

    def read(self, line: str) -> None:
        """One line; blank ones and comments say nothing."""
        words = _BLANKS.split(line.strip(" \t"))
        keyword, arguments = words[0], words[1:]
        if not keyword or keyword.startswith("#"):
            return
        reads = {
            "log": self._log,
            "witness": self._witness,
            "group": self._group,
            "quorum": self._quorum,
        }.get(keyword)
        if reads is None:
            raise _malformed("a line starts with log, witness, group or quorum")
        reads(arguments)

    def policy(self) -> TrustPolicy:
        """The whole, once every line is read."""
        if self.quorum is None:
            raise _malformed("a policy has a quorum line")
        quorum = None if self.quorum == _NONE else self.quorum
        return TrustPolicy(tuple(self.logs), tuple(self.witnesses), tuple(self.groups), quorum)

    def _log(self, words: list[str]) -> None:
        if len(words) not in (1, 2):
            raise _malformed("a log line is: log, key, and perhaps a URL")
        vkey = self._key(words[0], LOG_TYPES)
        if any(vkey.public_key == log.vkey.public_key for log in self.logs):
            raise _malformed("two logs have the same key")
        self.logs.append(TrustedLog(vkey, *words[1:]))
        _limit(self.logs)

    def _witness(self, words: list[str]) -> None:
        if len(words) not in (2, 3):
            raise _malformed("a witness line is: witness, name, key, and perhaps a URL")
        name = self._define(words[0])
        vkey = self._key(words[1], WITNESS_TYPES)
        if any(vkey.public_key == other.vkey.public_key for other in self.witnesses):
            raise _malformed("two witnesses have the same key")
        self.witnesses.append(TrustedWitness(name, vkey, *words[2:]))
        _limit(self.witnesses)

    def _group(self, words: list[str]) -> None:
        if len(words) < 3:
            raise _malformed("a group line is: group, name, threshold, and its members")
        name, threshold, members = words[0], words[1], words[2:]
        # Members first: a group does not contain itself.
        for member in members:
            if member not in self.names:
                raise _malformed("a group member is defined on an earlier line")
            if member in self.members:
                raise _malformed("a name is a member of one group at most, and once")
            self.members.add(member)
        count = _threshold(threshold, len(members))
        self.groups.append(Group(self._define(name), count, tuple(members)))
        _limit(self.groups)

    def _quorum(self, words: list[str]) -> None:
        if len(words) != 1:
            raise _malformed("a quorum line is: quorum, and one name")
        if self.quorum is not None:
            raise _malformed("a policy has one quorum line")
        if words[0] != _NONE and words[0] not in self.names:
            raise _malformed("the quorum is defined on an earlier line")
        self.quorum = words[0]

    def _define(self, name: str) -> str:
        if name == _NONE or name in self.names:
            raise _malformed("the name is taken")
        self.names.add(name)
        return name

    def _key(self, text: str, types: frozenset[int]) -> Vkey:
        vkey = parse_vkey(text)
        if vkey.signature_type not in types:
            raise Refused(Reason.KEY_INVALID, "the key's type does not fit its use", field="vkey")
        note_verifier(vkey)
        identity = vkey.name, vkey.key_id
        if identity in self.identities:
            # One signature line would stand for both.
            raise _malformed("two keys share name and key id")
        self.identities.add(identity)
        return vkey


def _threshold(text: str, members: int) -> int:
    if text == "all":
        return members
    if text == "any":
        return 1
    if not _NUMBER.fullmatch(text) or int(text) > members:
        raise _malformed("a threshold is all, any, or a number from 1 to that of the members")
    return int(text)


def _limit(items: list[TrustedLog] | list[TrustedWitness] | list[Group]) -> None:
    if len(items) > MAX_ITEMS:
        raise Refused(Reason.TOO_LARGE, f"a policy has at most {MAX_ITEMS} of each", field="policy")


def _words(*words: str | None) -> str:
    return " ".join(word for word in words if word is not None)


def _malformed(detail: str) -> Refused:
    return Refused(Reason.NOTE_MALFORMED, detail, field="policy")
