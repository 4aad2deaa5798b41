"""What the played Slack refuses in a message: blocks, metadata and lengths that the real one refuses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from nanoclaw.testing.slack_faults import RefusedError

MAX_TEXT: Final = 40_000
MAX_BLOCKS: Final = 50
MAX_SECTION: Final = 3000
MAX_BUTTONS: Final = 25
MAX_LABEL: Final = 75
MAX_VALUE: Final = 2000


def structure(params: dict[str, Any], name: str) -> Any:
    """A parameter that is JSON: as such in a JSON body, as text in a form. Raises RefusedError."""
    value = params.get(name)
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise RefusedError(f"invalid_{name}_format") from None


def check_message(text: Any, blocks: Any, metadata: Any) -> None:
    """Raises RefusedError for what `chat.postMessage` and `chat.update` refuse."""
    if text is not None and not isinstance(text, str):
        raise RefusedError("invalid_arguments")
    if not (text or "").strip() and not blocks:
        raise RefusedError("no_text")
    if len(text or "") > MAX_TEXT:
        raise RefusedError("msg_too_long")
    check_blocks(blocks)
    check_metadata(metadata)


def check_metadata(metadata: Any) -> None:
    if metadata is None:
        return
    fine = (
        isinstance(metadata, dict)
        and isinstance(metadata.get("event_type"), str)
        and bool(metadata["event_type"])
        and isinstance(metadata.get("event_payload"), dict)
    )
    if not fine:
        raise RefusedError("invalid_metadata_format")


def check_blocks(blocks: Any) -> None:
    if blocks is None:
        return
    if not isinstance(blocks, list):
        raise RefusedError("invalid_blocks_format")
    complaints = [complaint for n, block in enumerate(blocks) for complaint in _complaints(n, block)]
    if len(blocks) > MAX_BLOCKS:
        complaints.append("[ERROR] no more than 50 items allowed [json-pointer:/blocks]")
    if complaints:
        raise RefusedError("invalid_blocks", response_metadata={"messages": complaints})


def _complaints(n: int, block: Any) -> Sequence[str]:
    at = f"[json-pointer:/blocks/{n}]"
    kind = block.get("type") if isinstance(block, dict) else None
    if kind == "section":
        text = block.get("text")
        return [] if _is_text(text, MAX_SECTION, {"mrkdwn", "plain_text"}) else [f"[ERROR] invalid text {at}"]
    if kind == "actions":
        return _button_complaints(block.get("elements"), at)
    return [f"[ERROR] unsupported type: {kind} {at}"]


def _button_complaints(elements: Any, at: str) -> Sequence[str]:
    if not isinstance(elements, list) or not 1 <= len(elements) <= MAX_BUTTONS:
        return [f"[ERROR] between 1 and 25 elements are allowed {at}"]
    ids = [element.get("action_id") for element in elements]
    found = [] if len(set(ids)) == len(ids) else [f"[ERROR] action_id is not unique {at}"]
    for element in elements:
        fine = (
            element.get("type") == "button"
            and _is_text(element.get("text"), MAX_LABEL, {"plain_text"})
            and len(element.get("value") or "") <= MAX_VALUE
        )
        found += [] if fine else [f"[ERROR] invalid element {at}"]
    return found


def _is_text(value: Any, longest: int, kinds: set[str]) -> bool:
    if (
        not isinstance(value, dict)
        or value.get("type") not in kinds
        or not isinstance(value.get("text"), str)
    ):
        return False
    return 1 <= len(value["text"]) <= longest
