"""Files through each of the three chat services: what Ada sends reaches the model, what the agent sends reaches Ada."""

from __future__ import annotations

import asyncio
import base64
import io
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image
from pypdf import PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from nanoclaw.testing.messages_api import Reply, say, use
from nanoclaw.testing.messages_stream import as_blocks
from tests.service.phone import Phone
from tests.service.phones import PHONES, phone_house

pytestmark = [pytest.mark.service, pytest.mark.asyncio(loop_scope="module")]

LIMIT_MB = 1
EDGE_PX = 600
SETTINGS = {"attachments": {"max_mb": LIMIT_MB, "image_edge_px": EDGE_PX, "retry_delays_s": [0.05]}}


@pytest.fixture(scope="module", autouse=True)
def runtime() -> str:
    """Files go through the service; the agent's own side of them has its tests elsewhere."""
    return "process"


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=PHONES, ids=lambda kind: kind.name)
async def paired(request: pytest.FixtureRequest) -> AsyncIterator[Phone]:
    async with phone_house(request.param, SETTINGS) as phone:
        yield phone


@pytest_asyncio.fixture(loop_scope="module")
async def phone(paired: Phone) -> AsyncIterator[Phone]:
    """A fresh conversation; at rest afterwards."""
    await paired.ask("/new")
    yield paired
    paired.house.api.model = lambda _: say("Yes.")
    await paired.settled()
    problems, paired.house.api.problems = paired.house.api.problems, []
    assert problems == []


def photo(color: str, size: tuple[int, int] = (1200, 300)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, "PNG")
    return buffer.getvalue()


def pdf(text: str) -> bytes:
    """One page that says so."""
    writer = PdfWriter()
    page = writer.add_blank_page(300, 300)
    content = DecodedStreamObject()
    content.set_data(f"BT /F1 12 Tf 10 100 Td ({text}) Tj ET".encode())
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
        }
    )
    page[NameObject("/Resources")] = DictionaryObject(
        {NameObject("/Font"): DictionaryObject({NameObject("/F1"): font})}
    )
    page[NameObject("/Contents")] = writer._add_object(content)
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


def colors(body: dict[str, Any]) -> list[object]:
    """Of the pictures that the model is shown, in order."""
    return [image.getpixel((5, 5)) for image in images(body)]


def images(body: dict[str, Any]) -> list[Image.Image]:
    blocks = [block for message in body["messages"] for block in as_blocks(message["content"])]
    data = [block["source"]["data"] for block in blocks if block["type"] == "image"]
    return [Image.open(io.BytesIO(base64.b64decode(one))).convert("RGB") for one in data]


def shown_text(body: dict[str, Any]) -> str:
    blocks = [block for message in body["messages"] for block in as_blocks(message["content"])]
    return "\n".join(block["text"] for block in blocks if block["type"] == "text")


async def test_a_photo_is_shown_to_the_model_scaled_and_once(phone: Phone) -> None:
    seen: list[dict[str, Any]] = []

    def look(body: dict[str, Any]) -> Reply:
        seen.append(body)
        return say("A red field.")

    phone.house.api.model = look
    count = len(phone.texts())
    phone.attach(photo("red"), name="field.png", mime="image/png", caption="what is this?")
    assert await phone.next_text(count) == "A red field."
    (body,) = seen
    (image,) = images(body)
    assert max(image.size) == EDGE_PX
    assert colors(body) == [(255, 0, 0)]
    assert "what is this?" in shown_text(body)

    assert await phone.ask("and now?") == "A red field."
    assert images(seen[-1]) == []


async def test_a_photo_that_comes_while_the_agent_works_is_shown_to_it_once(phone: Phone) -> None:
    go_on = asyncio.Event()
    seen: list[dict[str, Any]] = []

    async def look(body: dict[str, Any]) -> Reply:
        seen.append(body)
        if len(seen) == 1:
            await go_on.wait()
            return use("glob", {"pattern": "*"})
        return say(f"I have seen {len(images(body))}.")

    phone.house.api.model = look
    phone.attach(photo("red"), name="red.png", mime="image/png", caption="look")
    await phone.until(lambda: seen, "the model is not asked")
    phone.attach(photo("blue"), name="blue.png", mime="image/png", caption="and this")
    sent_on = "SELECT count(*) FROM frames_out WHERE body LIKE '%and this%'"
    await phone.house.until_value(1, sent_on)
    go_on.set()
    assert await phone.heard("I have seen 2.") == "I have seen 2."
    assert colors(seen[-1]) == [(255, 0, 0), (0, 0, 255)]
    await phone.settled()
    assert phone.texts()[-1] == "I have seen 2."


async def test_a_pdf_is_read_to_the_model(phone: Phone) -> None:
    phone.house.says(lambda body: say("It is 4711." if "Invoice 4711" in shown_text(body) else "Nothing."))
    count = len(phone.texts())
    phone.attach(pdf("Invoice 4711"), name="invoice.pdf", mime="application/pdf", caption="which number?")
    assert await phone.next_text(count) == "It is 4711."
    (kept,) = (phone.house.root / "groups").glob("*/attachments/*.pdf")
    assert kept.read_bytes() == pdf("Invoice 4711")


async def test_a_file_that_is_too_large_is_told_and_holds_nothing_up(phone: Phone) -> None:
    def answer(body: dict[str, Any]) -> Reply:
        problem = re.search(r'problem="([^"]*)"', shown_text(body))
        return say(problem[1] if problem else "It is here.")

    phone.house.says(answer)
    count = len(phone.texts())
    large = b"%PDF-1.7" + bytes(LIMIT_MB * 1024 * 1024 + 1)
    phone.attach(large, name="large.pdf", mime="application/pdf", caption="read this")
    assert "too large" in await phone.next_text(count)
    assert list((phone.house.root / "groups").glob("*/attachments/*large*")) == []


async def test_a_file_of_the_agent_arrives(phone: Phone) -> None:
    phone.house.says(
        use("write", {"path": "plan.txt", "content": "Monday: rest"}),
        use("send_file", {"path": "plan.txt", "caption": "Here is the plan."}),
        say("Sent."),
    )
    before = len(phone.received())
    assert "Sent." in await phone.ask("send me the plan")
    await phone.until(lambda: len(phone.received()) > before, "no file comes")
    (file,) = phone.received()[before:]
    assert (file.name, file.data, file.caption) == ("plan.txt", b"Monday: rest", "Here is the plan.")
    assert not file.picture


async def test_a_picture_comes_back_as_it_was_sent(phone: Phone) -> None:
    def send_back(body: dict[str, Any]) -> Reply:
        path = re.search(r'path="(attachments/[^"]+)"', shown_text(body))
        assert path
        return use("send_file", {"path": path[1]})

    phone.house.says(send_back, say("There."))
    before, given = len(phone.received()), photo("green")
    phone.attach(given, name="green.png", mime="image/png", caption="send it back")
    await phone.until(lambda: len(phone.received()) > before, "no picture comes")
    (file,) = phone.received()[before:]
    assert file.data == given
    assert file.picture
