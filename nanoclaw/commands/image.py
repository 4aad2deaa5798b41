"""`/image`: the image that agents in containers run in, whether it is up to date, and how to make it anew."""

from __future__ import annotations

from nanoclaw.commands.deps import Deps
from nanoclaw.commands.wording import usage_line
from nanoclaw.errors import NanoclawError
from nanoclaw.ports import Answer, ImageState, Invocation, Where
from nanoclaw.reports import ago

HOW = "/image build"
_PATIENCE_S = 1.0
_ABOUT = "That takes some minutes, less when little has changed; the end is told here."


class Image:
    """Looks at the image, or has it built in the background."""

    name = "image"
    usage = "/image [build]"
    help = "the image that agents in containers run in; with build: makes it anew"
    where: Where = "main"

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def run(self, invocation: Invocation) -> Answer:
        """A build begins once the answer is stored; a second one is refused while the first is under way."""
        word = invocation.args.lower()
        if word not in {"", "build"}:
            return Answer(text=usage_line(self.usage))
        keeper = self._deps.image
        if under_way := keeper.progress():
            return Answer(text=f"The agent image is being built: {under_way}.")
        if not word:
            return Answer(text=await self._state())

        async def begin() -> None:
            keeper.build(invocation.inbound.chat_id)

        return Answer(text=f"Building the agent image. {_ABOUT}", after=begin)

    async def _state(self) -> str:
        try:
            state = await self._deps.image.look(_PATIENCE_S)
        except NanoclawError as error:
            return f"The agent image cannot be looked at. {error.safe}"
        if not state.exists:
            return f"The agent image {state.name} is missing. {HOW} makes it. {_ABOUT}"
        age = ago(state.created, self._deps.clock.now()) if state.created else "at an unknown time"
        return "\n".join(
            [
                f"Agent image: {state.name}@{state.id.removeprefix('sha256:')[:12]}",
                f"Built {age}, {round(state.size_bytes / 1_000_000)} MB",
                f"Stale: this version of the program brings other agent code. {HOW} makes it anew."
                if state.stale
                else "Up to date",
            ]
        )


def shortcoming(state: ImageState) -> str:
    """What `/status` says of an image that is not as it should be; empty if it is."""
    if not state.exists:
        return f"the agent image is missing: {HOW}"
    return f"the agent image is stale: {HOW}" if state.stale else ""
