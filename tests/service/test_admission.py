"""Opening heartbeats elsewhere: the answers are those of a node that does it all itself."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ledger.errors import Reason, Refused
from ledger.protocol import statements as st
from ledger.protocol.cose import decode_sign1
from ledger.protocol.statements import Kind
from ledger.service import admission
from ledger.service.sequence import WORTH_SENDING, Sequencer
from tests.service.harness import Stage, founded
from tests.world import signer


def batch(stage: Stage) -> list[bytes]:
    """Heartbeats of every kind of outcome, more than one piece of them."""
    chips = stage.chips
    tokens = [stage.token(chip) for chip in chips]
    tokens[1] = tokens[1][:-1] + bytes([tokens[1][-1] ^ 1])
    tokens[2] = stage.token(replace(chips[2], signer=signer("nobody knows")))
    tokens[3] = stage.token(chips[3], epoch=bytes(16))
    tokens[4] = stage.token(replace(chips[4], signer=chips[5].signer))
    tokens[5] = b"\xd2\x84\x40"
    tokens[6] = tokens[7]
    return tokens


class Counting(ThreadPoolExecutor):
    """An executor that keeps what it was asked to do and what came out."""

    def __init__(self) -> None:
        super().__init__(2)
        self.done: list[Any] = []

    def submit(self, call: Callable[..., Any], /, *args: Any, **named: Any) -> Future[Any]:
        future = super().submit(call, *args, **named)
        self.done.append((args, future))
        return future


def outcome(result: Any) -> tuple[Any, ...]:
    if isinstance(result, Refused):
        return result.reason, result.detail, result.field
    return result.index, result.leaf_hash, result.conflict, result.lease


def test_executor_changes_no_answer(tmp_path: Path) -> None:
    answers = []
    with Counting() as executor:
        for name, helper in (("alone", None), ("helped", executor)):
            (tmp_path / name).mkdir()
            stage = founded(tmp_path / name, chips=WORTH_SENDING + 4)
            stage.node._sequencer.executor = helper
            tokens = batch(stage)
            answers.append([outcome(one) for one in stage.node.submit(tokens, Kind.HEARTBEAT)])
            stage.node.close()
        assert answers[0] == answers[1]
        reasons = [answer[0] for answer in answers[0] if isinstance(answer[0], Reason)]
        assert len(reasons) == 6
        assert len(set(reasons)) == 6
        assert executor.done


def test_stale_heartbeat_costs_no_signature_check(tmp_path: Path) -> None:
    stage = founded(tmp_path, chips=1)
    (chip,) = stage.chips
    epoch = stage.node.epoch().id
    key = (int(chip.signer.public.alg), chip.signer.public.raw)
    fresh, stale = stage.token(chip), stage.token(chip, epoch=bytes(16))
    found = admission.open_heartbeats([fresh, stale, fresh], [key, key, None], [epoch])
    checks = [one[3] for one in found if not isinstance(one, Refused)]
    assert checks == [(key[1], True), None, None]
    stage.node.close()


def test_check_with_another_key_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A good check by a key that is not the signer's must never admit a message."""
    with Counting() as executor:
        stage = founded(tmp_path, chips=WORTH_SENDING)
        sequencer = stage.node._sequencer
        sequencer.executor = executor
        impostor = signer("somebody else")
        tokens = [stage.token(chip) for chip in stage.chips]
        message = st.decode(tokens[0])
        forged = impostor.sign(message.tbs)
        tokens[0] = tokens[0][:-64] + forged
        known, kid = sequencer._raw_key, message.kid
        wrong = int(impostor.public.alg), impostor.public.raw
        monkeypatch.setattr(
            Sequencer,
            "_raw_key",
            lambda _, sign1: wrong if sign1 is not None and sign1.kid == kid else known(sign1),
        )
        result = stage.node.submit(tokens, Kind.HEARTBEAT)[0]
        assert isinstance(result, Refused)
        assert result.reason is Reason.SIGNATURE_INVALID
        stage.node.close()


@pytest.mark.parametrize("damage", [b"", b"\xd2", b"\x00" * 40])
def test_assemble_refuses_what_is_no_token(damage: bytes) -> None:
    (found,) = admission.open_heartbeats([damage], [None], [])
    opened = admission.assemble(damage, None, found)
    assert isinstance(opened, Refused)


def test_assemble_makes_the_message_that_decode_makes(tmp_path: Path) -> None:
    stage = founded(tmp_path, chips=1)
    token = stage.token(stage.chips[0])
    (found,) = admission.open_heartbeats([token], [None], [])
    opened = admission.assemble(token, decode_sign1(token), found)
    assert not isinstance(opened, Refused)
    assert opened[0] == st.decode(token)
    stage.node.close()
