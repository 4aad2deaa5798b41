"""What a pairing code does: the chat becomes a control panel, its sender an owner."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from nanoclaw.directory import Directory
from nanoclaw.domain import Action, Inbound
from nanoclaw.ports import Change, Tx
from nanoclaw.sqlite.tx import SqliteTx

log = structlog.get_logger()


def pairing(directory: Directory, assistant_name: str) -> Callable[[str, Inbound], Change]:
    """The change of `/pair <code>`. A stranger with a wrong code gets no answer; the trace and the log have it."""

    def pair(code: str, inbound: Inbound) -> Change:
        def change(tx: Tx) -> str:
            if isinstance(tx, SqliteTx) and tx.redeem_code(code, inbound, assistant_name):
                return (
                    f"Paired. This chat is a control panel of {assistant_name} now, and you are an owner. "
                    "Write to me as to a person; /status shows how I am, /help what I can do."
                )
            log.warning(
                "pairing.wrong_code",
                chat=inbound.chat_id,
                hint="after five wrong ones: nanoclaw pair makes a new code",
            )
            why = f"A wrong pairing code came from {inbound.sender_name} in {inbound.chat_name}"
            tx.log(
                Action(
                    action_type="pairing_failed",
                    triggered_by=None,
                    target=inbound.chat_id,
                    content=why,
                    failed=True,
                )
            )
            return "That code is wrong, used, or too old." if directory.is_owner(inbound.sender) else ""

        return change

    return pair
