"""`/image`, and what `/status` says of the image."""

from dataclasses import replace
from datetime import timedelta

import pytest

from nanoclaw.errors import OutageError
from nanoclaw.ports import ImageState
from tests.commands.world import MAIN, NOW, World

BUILT = ImageState(
    name="nanoclaw-agent", exists=True, id="sha256:0123456789abcdef", created=NOW - timedelta(hours=3),
    size_bytes=278_400_000,
)  # fmt: skip
SILENT = OutageError("no", cause="engine", safe="The container engine does not answer.")


async def test_the_image_is_shown_with_its_age_and_size(world: World) -> None:
    world.around.image = BUILT
    assert await world.say("/image") == (
        "Agent image: nanoclaw-agent@0123456789ab\nBuilt 3h ago, 278 MB\nUp to date"
    )


async def test_a_stale_image_is_called_so_and_the_way_out_is_named(world: World) -> None:
    world.around.image = replace(BUILT, stale=True)
    assert "Stale: this version of the program brings other agent code. /image build" in await world.say(
        "/image"
    )


async def test_a_missing_image_is_called_so_and_the_way_out_is_named(world: World) -> None:
    assert "The agent image nanoclaw-agent is missing. /image build makes it." in await world.say("/image")


async def test_an_engine_that_does_not_answer_is_told(world: World) -> None:
    world.around.image = SILENT
    assert await world.say("/image") == (
        "The agent image cannot be looked at. The container engine does not answer."
    )


async def test_a_build_begins_once_the_answer_is_stored(world: World) -> None:
    answer = await world.answer("/image build")
    assert answer.text.startswith("Building the agent image. ")
    assert world.around.builds == []
    assert answer.after is not None
    await answer.after()
    assert world.around.builds == [MAIN.chat_id]


@pytest.mark.parametrize("line", ["/image", "/image build"])
async def test_while_it_is_built_the_step_is_shown_and_no_second_build_begins(
    world: World, line: str
) -> None:
    world.around.build_step = "Step 3/9: COPY nanoclaw, for 12s"
    answer = await world.answer(line)
    assert answer.text == "The agent image is being built: Step 3/9: COPY nanoclaw, for 12s."
    assert answer.after is None


async def test_another_word_gets_the_usage_line(world: World) -> None:
    assert await world.say("/image burn") == "Usage: /image [build]"


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (BUILT, "fine walls"),
        (replace(BUILT, stale=True), "fine walls; the agent image is stale: /image build"),
        (ImageState(name="a", exists=False), "fine walls; the agent image is missing: /image build"),
        (SILENT, "fine walls"),
    ],
)
async def test_status_says_what_is_wrong_with_the_image_that_agents_run_in(
    world: World, image: ImageState | OutageError, expected: str
) -> None:
    world.around.name, world.around.line, world.around.image = "docker", "fine walls", image
    assert f"**Runtime:** {expected}" in (await world.say("/status")).splitlines()


async def test_status_says_nothing_of_an_image_that_no_agent_runs_in(world: World) -> None:
    assert "image" not in await world.say("/status")
