"""This module is where those who share a name wait for each other, in the order of their coming."""

import asyncio
import random

from wallet_worker.turns import Turns


async def others() -> None:
    """Let everybody else go on who can."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(done.set_result, None)
    await done


async def test_whoever_shares_a_name_is_served_in_order() -> None:
    """A hundred with one or two names of five: each after all earlier ones that share one."""
    dice, turns = random.Random(7), Turns()
    began: list[int] = []
    ended: list[int] = []
    names = [{f"u{dice.randrange(5)}", f"u{dice.randrange(5)}"} for _ in range(100)]

    async def work(number: int) -> None:
        async with turns.taken(names[number]):
            began.append(number)
            for _ in range(dice.randrange(5)):
                await others()
            ended.append(number)

    await asyncio.gather(*(work(number) for number in range(100)))

    for later in range(100):
        before = [each for each in range(later) if names[each] & names[later]]
        assert all(ended.index(each) < ended.index(later) for each in before)
    assert began != sorted(began), "those who share nothing do not wait"
    assert turns._last == {}


async def test_one_that_fails_or_leaves_lets_the_next_one_in() -> None:
    """Raising and being cancelled, also while waiting, end a turn."""
    turns, served = Turns(), []

    async def work(number: int) -> None:
        async with turns.taken(["u"]):
            served.append(number)
            await others()
            if number == 0:
                raise ValueError

    tasks = [asyncio.create_task(work(number)) for number in range(4)]
    await others()
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert served == [0, 2, 3]
