"""An event loop whose clock jumps to the next timer as soon as nothing else is to be done: minutes pass at once."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from structlog.testing import capture_logs

T = TypeVar("T")


class _Jumping(selectors.SelectSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everything waits for something that never comes")
        self.now += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """For objects that use neither threads nor sockets."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        self.complaints: list[dict[str, Any]] = []
        super().__init__(self._jumping)
        self.set_exception_handler(lambda loop, context: self.complaints.append(context))

    def time(self) -> float:
        return self._jumping.now


def play(story: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs the story to its end. It leaves no task behind, and no error that nobody looked at."""
    with capture_logs(), asyncio.Runner(loop_factory=VirtualLoop) as runner:

        async def whole() -> T:
            result = await story()
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, f"left running: {left}"
            return result

        result = runner.run(whole())
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        assert loop.complaints == []
        return result


async def quiet() -> None:
    """Lets everything happen that needs no time."""
    for _ in range(30):
        await asyncio.sleep(0)
