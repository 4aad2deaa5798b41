import pytest, pytest_asyncio
from tests.service.house import House, paired_house
from tests.service.test_tasks import shared  # noqa
pytestmark = [pytest.mark.service, pytest.mark.asyncio(loop_scope="module")]
async def test_x(house: House) -> None:
    print(await house.ask("/task add remind me in 2 seconds to stretch"))
    print(await house.heard("⏰ Reminder: stretch"))
    print(await house.ask("/task add every weekday at 7 morning briefing"))
    print(await house.ask("/task run 2"))
    print(await house.heard("⏰ This is due|riefing|odel"))
    await house.until_value(0, "SELECT count(*) FROM occurrences WHERE state = 'running'")
    print(await house.ask("/tasks"))
    print(await house.ask("/task show 1"))
    print(await house.ask("/task runs 1"))
    print(await house.ask("/promise"))
    print(house.rows("SELECT * FROM occurrences"))
