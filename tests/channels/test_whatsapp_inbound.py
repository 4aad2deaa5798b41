"""What becomes of a message on its way from WhatsApp to the gate: the real library in a real child."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

from nanoclaw.domain import Inbound, Quote
from nanoclaw.testing.whatsapp_messages import wrapped
from tests.channels.whatsapp_house import ANNA, FAMILY, OWNER, House, whatsapp

pytestmark = pytest.mark.asyncio(loop_scope="module")

OTHER = "491629999999@s.whatsapp.net"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared() -> AsyncIterator[House]:
    """The number is its owner's; one child for all tests here, which each wait for their own message."""
    async with whatsapp() as house:
        house.world.groups[FAMILY] = "Family"
        await house.up()
        yield house


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def own() -> AsyncIterator[House]:
    """The assistant has a number of its own."""
    async with whatsapp(own_number=True) as house:
        house.world.groups[FAMILY] = "Family"
        await house.up()
        yield house


async def heard(house: House, chat: str, message: str | dict[str, Any], **more: Any) -> Inbound:
    message_id = house.world.say(chat, message, **more)
    await house.gate.until(lambda: any(one.message_id == message_id for one in house.gate.stored))
    return next(one for one in house.gate.stored if one.message_id == message_id)


async def heard_after(house: House, *silent: tuple[str, str | dict[str, Any], dict[str, Any]]) -> list[str]:
    """The texts that arrive when these are said, and then something that surely arrives."""
    before = len(house.gate.stored)
    for chat, message, more in silent:
        house.world.say(chat, message, **more)
    await heard(house, ANNA, "and this")
    return house.gate.texts[before:]


async def test_a_message_in_a_group_has_its_sender_and_the_group_s_name(shared: House) -> None:
    message = await heard(
        shared, FAMILY, "hello", sender="491511234567:7@s.whatsapp.net", at_ms=1_790_000_000_123
    )
    assert message.chat_id == FAMILY
    assert (message.chat_name, message.is_group) == ("Family", True)
    assert (message.sender, message.sender_name) == (ANNA, "Anna")
    assert message.sent_at == datetime(2026, 9, 21, 14, 13, 20, 123_000, tzinfo=UTC)
    assert (message.from_me, message.from_bot, message.mentions_me, message.caption) == (
        False,
        False,
        False,
        None,
    )


async def test_a_private_chat_has_the_other_s_name(shared: House) -> None:
    message = await heard(shared, ANNA, "hello")
    assert (message.chat_id, message.chat_name, message.is_group) == (ANNA, "Anna", False)


async def test_a_group_that_was_never_named_is_asked_for_its_name(shared: House) -> None:
    shared.world.groups["120363000000000009@g.us"] = "Late to the party"
    message = await heard(shared, "120363000000000009@g.us", "hello")
    assert message.chat_name == "Late to the party"


READABLE: list[tuple[dict[str, Any], str]] = [
    ({"extendedTextMessage": {"text": "see https://example.org"}}, "see https://example.org"),
    ({"imageMessage": {"mimetype": "image/jpeg"}}, "[photo]"),
    ({"imageMessage": {"caption": "look"}}, "look\n[photo]"),
    ({"videoMessage": {"caption": "us", "seconds": 65}}, "us\n[video, 1:05]"),
    ({"videoMessage": {"gifPlayback": True}}, "[GIF]"),
    ({"ptvMessage": {"seconds": 8}}, "[video message, 0:08]"),
    ({"audioMessage": {"PTT": True, "seconds": 12}}, "[Voice message, 0:12]"),
    ({"audioMessage": {"seconds": 185}}, "[audio, 3:05]"),
    (
        {"documentMessage": {"fileName": "plan.pdf", "caption": "please read"}},
        "please read\n[document: plan.pdf]",
    ),
    ({"documentMessage": {"title": "notes"}}, "[document: notes]"),
    ({"stickerMessage": {"emojis": "😀"}}, "[sticker: 😀]"),
    ({"stickerMessage": {}}, "[sticker]"),
    (
        {"locationMessage": {"degreesLatitude": 52.52, "degreesLongitude": 13.405, "name": "Alex"}},
        "[location: Alex, 52.52000, 13.40500]",
    ),
    (
        {"liveLocationMessage": {"degreesLatitude": 1, "degreesLongitude": 2, "caption": "on my way"}},
        "[location: on my way, 1.00000, 2.00000]",
    ),
    (
        {
            "contactMessage": {
                "displayName": "Bob",
                "vcard": "BEGIN:VCARD\nFN:Bob\nitem1.TEL;waid=49170:+49 170\nTEL;type=HOME:030 1\nEND:VCARD",
            }
        },
        "[contact: Bob, +49 170, 030 1]",
    ),
    (
        {"contactsArrayMessage": {"contacts": [{"displayName": "Bob"}, {"displayName": "Eve"}]}},
        "[contact: Bob; contact: Eve]",
    ),
    (
        {
            "pollCreationMessageV3": {
                "name": "Pizza?",
                "options": [{"optionName": "yes"}, {"optionName": "no"}],
            }
        },
        "[poll: Pizza? / yes / no]",
    ),
    ({"eventMessage": {"name": "Picnic"}}, "[event: Picnic]"),
    ({"groupInviteMessage": {"groupName": "Chess"}}, "[invitation to the group: Chess]"),
    ({"buttonsResponseMessage": {"selectedDisplayText": "Yes"}}, "Yes"),
    ({"productMessage": {"body": "buy"}}, "[a message that I cannot read: productMessage]"),
    (wrapped({"conversation": "gone in a week"}, ["ephemeralMessage"]), "gone in a week"),
    (wrapped({"imageMessage": {"caption": "once"}}, ["viewOnceMessage"]), "once\n[photo]"),
    (wrapped({"imageMessage": {"caption": "once"}}, ["viewOnceMessageV2"]), "once\n[photo]"),
    (wrapped({"audioMessage": {"PTT": True}}, ["viewOnceMessageV2Extension"]), "[Voice message]"),
    (
        wrapped({"documentMessage": {"fileName": "a", "caption": "b"}}, ["documentWithCaptionMessage"]),
        "b\n[document: a]",
    ),
    (
        wrapped(
            {"extendedTextMessage": {"text": "deep"}},
            ["deviceSentMessage", "ephemeralMessage", "viewOnceMessage"],
        ),
        "deep",
    ),
]


@pytest.mark.parametrize(("message", "text"), READABLE, ids=[text[:30] for _, text in READABLE])
async def test_every_kind_of_message_reads_as_text(shared: House, message: dict[str, Any], text: str) -> None:
    assert (await heard(shared, FAMILY, message)).text == text


async def test_a_caption_stands_beside_the_text_so_that_a_command_in_it_works(shared: House) -> None:
    message = await heard(shared, FAMILY, {"imageMessage": {"caption": "/status"}})
    assert (message.caption, message.text) == ("/status", "/status\n[photo]")


async def test_what_is_passed_on_is_no_command_of_who_passes_it_on(shared: House) -> None:
    passed_on = {"text": "/yes 1", "contextInfo": {"isForwarded": True}}
    message = await heard(shared, FAMILY, {"extendedTextMessage": passed_on})
    assert message.text == "[forwarded] /yes 1"
    picture = {"caption": "/stop all", "contextInfo": {"isForwarded": True}}
    message = await heard(shared, FAMILY, {"imageMessage": picture})
    assert (message.caption, message.text) == (None, "[forwarded] /stop all\n[photo]")


async def test_an_attachment_has_what_whatsapp_tells_of_it(shared: House) -> None:
    document = {"fileName": "../plan.pdf", "mimetype": "application/pdf", "fileLength": 1234}
    message = await heard(shared, FAMILY, {"documentMessage": document})
    (attachment,) = message.attachments
    assert (attachment.kind, attachment.name, attachment.mime) == (
        "document",
        "../plan.pdf",
        "application/pdf",
    )
    assert attachment.size_bytes == 1234
    (voice,) = (await heard(shared, FAMILY, {"audioMessage": {"PTT": True, "seconds": 12}})).attachments
    assert (voice.kind, voice.duration_s) == ("voice", 12)


async def test_what_nobody_said_is_not_told(shared: House) -> None:
    key = {"remoteJID": FAMILY, "ID": "X", "fromMe": False}
    silent: list[dict[str, Any]] = [
        {"reactionMessage": {"key": key, "text": "👍"}},
        {"protocolMessage": {"type": "REVOKE", "key": key}},
        {"senderKeyDistributionMessage": {"groupID": FAMILY}},
        {"pollUpdateMessage": {"pollCreationMessageKey": key}},
        {},
    ]
    assert await heard_after(shared, *((FAMILY, one, {}) for one in silent)) == ["and this"]


async def test_status_pages_channels_and_broadcasts_are_none_of_our_chats(shared: House) -> None:
    chats = ["status@broadcast", "120363@newsletter", "123@broadcast"]
    assert await heard_after(shared, *((chat, "hi", {"sender": ANNA}) for chat in chats)) == ["and this"]


async def test_an_edit_names_the_message_that_it_replaces(shared: House) -> None:
    first = await heard(shared, FAMILY, "helo")
    edit = {"protocolMessage": {"type": "MESSAGE_EDIT", "key": {"ID": first.message_id}, "timestampMS": 77}}
    edit["protocolMessage"]["editedMessage"] = {"conversation": "hello"}
    shared.world.say(FAMILY, wrapped(edit, ["editedMessage"]))
    await shared.gate.until(lambda: shared.gate.stored[-1].edit_of)
    message = shared.gate.stored[-1]
    assert (message.text, message.edit_of) == ("hello", first.message_id)
    assert message.message_id == f"{first.message_id}:edit:77"


async def test_a_quote_has_the_words_and_the_name_of_who_said_them(shared: House) -> None:
    context = {"stanzaID": "Q1", "participant": "491511234567:3@s.whatsapp.net"}
    context_of = {"contextInfo": context | {"quotedMessage": {"imageMessage": {"caption": "the lake"}}}}
    message = await heard(shared, FAMILY, {"extendedTextMessage": {"text": "nice"} | context_of})
    assert message.quote == Quote(message_id="Q1", text="the lake\n[photo]", sender_name="Anna")


# --- who is who ------------------------------------------------------------------------------------------------------


async def test_a_hidden_sender_is_known_by_the_phone_number_where_whatsapp_tells_it(shared: House) -> None:
    message = await heard(shared, FAMILY, "hi", sender="777@lid", other="491777:2@s.whatsapp.net")
    assert message.sender == "491777@s.whatsapp.net"


async def test_a_hidden_sender_s_number_is_looked_up_where_the_library_knows_it(shared: House) -> None:
    shared.world.phones["778@lid"] = "491778@s.whatsapp.net"
    assert (await heard(shared, FAMILY, "hi", sender="778@lid")).sender == "491778@s.whatsapp.net"


async def test_a_sender_who_was_hidden_at_first_keeps_that_id(shared: House) -> None:
    first = await heard(shared, FAMILY, "hi", sender="779@lid")
    later = await heard(shared, FAMILY, "hi", sender="779@lid", other="491779@s.whatsapp.net")
    plain = await heard(shared, FAMILY, "hi", sender="491779@s.whatsapp.net")
    assert [first.sender, later.sender, plain.sender] == ["779@lid"] * 3


async def test_a_private_chat_keeps_its_id_when_whatsapp_begins_to_hide_the_number(shared: House) -> None:
    first = await heard(shared, OTHER, "hi", other="780@lid")
    hidden = await heard(shared, "780@lid", "hi again")
    assert [first.chat_id, hidden.chat_id, hidden.sender] == [OTHER] * 3


async def test_the_owner_has_one_id_whether_whatsapp_hides_it_or_not(shared: House) -> None:
    plain = await heard(shared, OWNER, "note", from_me=True)
    hidden = await heard(
        shared,
        FAMILY,
        "note",
        from_me=True,
        sender=f"{shared.world.lid}@lid",
        other="4915100000001:4@s.whatsapp.net",
    )
    assert plain.sender == hidden.sender == OWNER


# --- whose number it is -----------------------------------------------------------------------------------------------


async def test_on_a_shared_number_its_owner_is_a_person(shared: House) -> None:
    message = await heard(shared, OWNER, "/status", from_me=True)
    assert (message.from_me, message.from_bot, message.sender) == (False, False, OWNER)


async def test_a_user_who_types_the_assistant_s_name_first_is_heard(shared: House) -> None:
    mine = await heard(shared, OWNER, "Andy: are you there?", from_me=True)
    hers = await heard(shared, FAMILY, "Andy: are you there?")
    assert [(one.from_me, one.from_bot) for one in (mine, hers)] == [(False, False)] * 2


async def test_on_a_shared_number_a_mention_means_its_owner(shared: House) -> None:
    context = {"mentionedJID": [OWNER]}
    message = await heard(
        shared, FAMILY, {"extendedTextMessage": {"text": "@4915100000001 dinner?", "contextInfo": context}}
    )
    assert not message.mentions_me
    assert message.text == "@4915100000001 dinner?"


@pytest.mark.parametrize("jid", [OWNER, "900000000000001@lid"])
async def test_on_its_own_number_a_mention_means_the_assistant(own: House, jid: str) -> None:
    text = {"text": f"@{jid.partition('@')[0]} /status", "contextInfo": {"mentionedJID": [jid]}}
    message = await heard(own, FAMILY, {"extendedTextMessage": text})
    assert (message.mentions_me, message.text) == (True, "@Andy /status")


async def test_on_its_own_number_a_reply_to_it_means_the_assistant(own: House) -> None:
    context = {"stanzaID": "Q2", "participant": OWNER, "quotedMessage": {"conversation": "hello"}}
    message = await heard(own, FAMILY, {"extendedTextMessage": {"text": "thanks", "contextInfo": context}})
    assert message.mentions_me
    assert message.quote == Quote(message_id="Q2", text="hello", sender_name="Andy")


async def test_on_its_own_number_what_its_phone_says_is_no_person_s(own: House) -> None:
    message = await heard(own, FAMILY, "typed on the assistant's phone", from_me=True)
    assert (message.from_me, message.from_bot) == (True, True)
