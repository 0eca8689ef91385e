"""This module is where completions and failures race each other, and die on the way."""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from services.worker.tests.conftest import Bank
    from services.worker.tests.settlement.conftest import Interrupted, Service

TRANSACTIONS = 40
# How often a completion awaits depends on how warm its connections are: about ten times.
FEWEST_WAITS = 5
Until = Callable[..., Awaitable[None]]


async def test_many_tell_everything_at_once(service: "Service", bank: "Bank") -> None:
    """Sign-ups, completions and failures, each three times, shuffled: each takes effect once."""
    await service.user("bank", "1000.00")
    told = []
    for number in range(TRANSACTIONS):
        user_id = f"user{number % 7}"
        told += [service.sign_up(user_id) for _ in range(3)]
        told += [service.topup(f"top{number}", user_id, "1.00") for _ in range(3)]
        if number % 2:
            told += [service.failure(f"top{number}") for _ in range(3)]
    random.shuffle(told)

    await asyncio.gather(*told)

    assert await bank.value("SELECT count(*) FROM wallets") == 8
    total = "SELECT sum(balance_minor) FROM wallets WHERE owner_id <> 'bank'"
    assert await bank.value(total) == TRANSACTIONS // 2 * 100
    for number in range(TRANSACTIONS):
        answers = await service.answers(f"top{number}")
        assert len(answers) == (2 if number % 2 else 1)
        assert answers[-1] != "completed" if number % 2 else answers == ["completed"]


async def test_transfers_and_their_failures_at_once(service: "Service", bank: "Bank") -> None:
    """Back and forth between two, every other one failed: what did not fail has moved, once."""
    await service.user("ann", "100.00")
    await service.user("bob", "100.00")
    told = []
    for number in range(TRANSACTIONS):
        sides = ("ann", "bob") if number % 4 < 2 else ("bob", "ann")
        told += [service.transfer(f"t{number}", *sides, "1.00") for _ in range(3)]
        if number % 2:
            told += [service.failure(f"t{number}") for _ in range(3)]
    random.shuffle(told)

    await asyncio.gather(*told)

    assert await service.balance("ann") == await service.balance("bob") == "100.00"
    for number in range(TRANSACTIONS):
        answers = await service.answers(f"t{number}")
        assert answers[-1] != "completed" if number % 2 else answers == ["completed"]
    assert await bank.value("SELECT count(*) FROM settlements WHERE state = 'accepted'") == 0


@pytest.mark.parametrize("kind", ["topup", "transfer"])
async def test_a_worker_may_die_at_any_step(
    service: "Service", interrupted: "type[Interrupted]", kind: str
) -> None:
    """Wherever it was killed, the message comes again and everything happens once."""
    await service.user("bob", "0.01")
    for waits in itertools.count(1):
        user_id, name = f"user{waits}", f"t{waits}"
        await service.user(user_id, "5.00")

        first = interrupted(service.move(kind, name, user_id), waits)
        await first.live()
        await service.move(kind, name, user_id)
        assert await service.balance(user_id) == ("9.00" if kind == "topup" else "1.00")

        second = interrupted(service.failure(name), waits)
        await second.live()
        await service.failure(name)
        assert await service.balance(user_id) == "5.00"
        assert await service.answers(name) == ["completed", "chargeback"]
        if not (first.was_reached or second.was_reached):
            break
    assert waits > FEWEST_WAITS, "there was something to die of"


@pytest.mark.parametrize("kind", ["topup", "transfer"])
async def test_a_failure_comes_while_the_worker_is_dead(
    service: "Service", interrupted: "type[Interrupted]", kind: str
) -> None:
    """Wherever the completion stopped, its failure undoes it, and it may come again after that."""
    await service.user("bob", "0.01")
    for waits in itertools.count(1):
        user_id, name = f"user{waits}", f"t{waits}"
        await service.user(user_id, "5.00")

        first = interrupted(service.move(kind, name, user_id), waits)
        await first.live()
        await asyncio.gather(service.failure(name), service.move(kind, name, user_id))

        assert await service.balance(user_id) == "5.00"
        answers = await service.answers(name)
        assert len(answers) == 2
        assert answers[-1] != "completed"
        if not first.was_reached:
            break
    assert waits > FEWEST_WAITS, "there was something to die of"


@pytest.mark.parametrize("kind", ["topup", "transfer"])
async def test_who_slept_through_a_failure_moves_nothing(
    service: "Service", interrupted: "type[Interrupted]", until: Until, kind: str
) -> None:
    """A worker that was stopped anywhere, and wakes when all is over, changes nothing any more."""
    await service.user("bob", "0.01")
    for waits in itertools.count(1):
        user_id, name, bell = f"user{waits}", f"t{waits}", asyncio.Event()
        await service.user(user_id, "5.00")

        sleeper = interrupted(service.move(kind, name, user_id), waits, bell)
        sleeping = asyncio.create_task(sleeper.live())
        await until(lambda: sleeper.was_reached or sleeping.done())  # noqa: B023  # awaited here
        failing = asyncio.create_task(service.failure(name))
        # It may sleep with the row in its hands: then the failure has to wait for it.
        await asyncio.wait([failing], timeout=0.3)
        bell.set()
        await asyncio.gather(sleeping, failing)

        assert await service.balance(user_id) == "5.00"
        answers = await service.answers(name)
        assert len(answers) == 2
        assert answers[-1] != "completed"
        if not sleeper.was_reached:
            break
    assert waits > FEWEST_WAITS, "there was something to sleep through"
