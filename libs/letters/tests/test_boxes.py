"""This module is where both boxes are held to the same promises."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import asyncpg
import pytest

from wallet_db_orm.database import Database
from wallet_letters import acts
from wallet_letters.acts import Pace
from wallet_letters.letters import Bounds, Letter, LettersHeld, NoSuchLetter, called

if TYPE_CHECKING:
    from libs.letters.tests.conftest import Grave

Events = Callable[[int], Awaitable[Sequence[bytes]]]
Eventually = Callable[[Callable[[], Awaitable[object]]], Awaitable[object]]
BODIES = [f"letter {number}".encode() for number in range(5)]


def all_of(letters: Sequence[Letter]) -> Sequence[Letter]:
    return letters


async def test_looking_changes_nothing(grave: "Grave") -> None:
    """Looked at thirty times, the letters are the same, in the same order, with the same names."""
    await grave.lay(*BODIES)
    box = grave.box()
    first = await acts.look(box)

    for _ in range(30):
        assert await acts.look(box) == first

    assert [each.body for each in first] == BODIES


async def test_a_partial_look_keeps_the_order(grave: "Grave") -> None:
    """Who takes only the oldest in hand is told how many more there are, and moves none."""
    await grave.lay(*BODIES)

    for _ in range(3):
        async with grave.box(Bounds(letters=2)).opened() as held:
            assert ([each.body for each in held.letters], held.beyond) == (BODIES[:2], 3)

    assert [each.body for each in await acts.look(grave.box())] == BODIES


async def test_what_is_held_has_a_size(grave: "Grave") -> None:
    """Letters of more bytes than may be kept are counted, not kept."""
    await grave.lay(*[b"x" * 1_000] * 5)

    async with grave.box(Bounds(letters=3, size=10_000)).opened() as held:
        assert (len(held.letters), held.beyond) == (3, 2)


async def test_letters_that_died_alike_are_one_group(grave: "Grave") -> None:
    """Errors that differ in ids and numbers only are one group; another error is another."""
    await grave.lay(b"1", error="currency 'XXX' after 3 attempts")
    await grave.lay(b"2", error="currency 'YYY' after 4 attempts")
    await grave.lay(b"3", error="no such thing")

    first, second, third = await acts.look(grave.box())

    assert first.group == second.group != third.group


async def test_two_thousand_letters_go_back_in_order(
    grave: "Grave",
    events: Events,
    database: Database,
    sql: asyncpg.Connection,
    eventually: Eventually,
) -> None:
    """All are replayed, each once, counted, oldest first; the log has a row for each."""
    bodies = await events(2_000)
    await grave.lay(*bodies, replays=2)
    told: list[tuple[int, int]] = []

    async def none_is_left() -> bool:
        return not await acts.look(grave.box())

    replayed = await acts.replay(
        grave.box(),
        database,
        "alice",
        all_of,
        progress=lambda done, all_: told.append((done, all_)),
    )

    assert (replayed.done, replayed.refused, replayed.remaining) == (2_000, {}, 0)
    assert await grave.put_back() == [(body, 3) for body in bodies]
    # The last acknowledgements may still be on their way.
    await eventually(none_is_left)
    assert told[-1] == (2_000, 2_000)
    assert (
        await sql.fetchval("SELECT count(*) FROM operator_log WHERE act = 'letter.replay'") == 2_000
    )


async def test_one_letter_is_replayed_and_no_other(
    grave: "Grave", events: Events, database: Database, sql: asyncpg.Connection
) -> None:
    """Who, when and what is in the log; the letter is back in its queue, the others rest."""
    bodies = await events(3)
    await grave.lay(*bodies)
    wanted = (await acts.look(grave.box()))[1]

    replayed = await acts.replay(
        grave.box(), database, "alice@desk", lambda rest: [called(rest, wanted.id)]
    )

    assert replayed.done == 1
    assert await grave.put_back() == [(bodies[1], 1)]
    assert [each.body for each in await acts.look(grave.box())] == [bodies[0], bodies[2]]
    (row,) = await sql.fetch("SELECT operator, act, subject, details FROM operator_log")
    assert row[:3] == ("alice@desk", "letter.replay", wanted.id)
    assert wanted.group in row["details"]


async def test_a_pace_is_kept(grave: "Grave", events: Events, database: Database) -> None:
    """At two a second for a second, some are back and the others are counted as remaining."""
    await grave.lay(*await events(10))

    replayed = await acts.replay(
        grave.box(), database, "alice", all_of, Pace(per_second=2, seconds_max=1)
    )

    assert 1 <= replayed.done <= 4
    assert replayed.done + replayed.remaining == 10
    assert len(await acts.look(grave.box())) == replayed.remaining


async def test_a_pace_begins_with_the_letters_in_hand(
    grave: "Grave", events: Events, database: Database
) -> None:
    """What is waited for another operator is no time in which letters could have gone."""
    await grave.lay(*await events(10))

    async with grave.box().opened():
        slow = asyncio.create_task(
            acts.replay(grave.box(), database, "alice", all_of, Pace(per_second=2, seconds_max=0.1))
        )
        await asyncio.wait([slow], timeout=2)

    assert 1 <= (await slow).done <= 2


async def test_others_look_while_a_pace_is_kept(
    grave: "Grave", events: Events, database: Database
) -> None:
    """A slow replay has the letters in hand only when one of them is due."""
    await grave.lay(*await events(3))
    slow = asyncio.create_task(
        acts.replay(grave.box(), database, "alice", all_of, Pace(per_second=0.5))
    )

    for _ in range(3):
        await acts.look(grave.box(patience_s=1))
    assert not slow.done()

    assert (await slow).done == 3


async def test_a_discarded_letter_is_kept_whole(
    grave: "Grave", database: Database, sql: asyncpg.Connection
) -> None:
    """It leaves the box and is in the archive with who and why; an unknown id is told."""
    await grave.lay(*BODIES)
    doomed = (await acts.look(grave.box()))[2]

    await acts.discard(grave.box(), database, "bob", doomed.id, "a test of ours")

    assert [each.body for each in await acts.look(grave.box())] == [*BODIES[:2], *BODIES[3:]]
    kept = await sql.fetchrow("SELECT * FROM discarded_letters")
    assert (kept["letter_id"], kept["body"], kept["queue"]) == (doomed.id, BODIES[2], doomed.queue)
    assert (kept["operator"], kept["reason"]) == ("bob", "a test of ours")
    assert (kept["attempts"], kept["error_class"]) == (4, "Refused")
    with pytest.raises(NoSuchLetter):
        await acts.discard(grave.box(), database, "bob", doomed.id, "again")
    assert await sql.fetchval("SELECT count(*) FROM operator_log WHERE act = 'letter.discard'") == 1


async def test_one_of_many_acts_on_a_letter_wins(
    grave: "Grave", events: Events, database: Database, sql: asyncpg.Connection
) -> None:
    """Discarded and replayed by ten at once, a letter is in the archive or back, not both."""
    await grave.lay(*await events(1))
    (letter,) = await acts.look(grave.box())

    async def discard() -> object:
        return await acts.discard(grave.box(), database, "bob", letter.id, "a test of ours")

    async def replay() -> object:
        return await acts.replay(
            grave.box(), database, "alice", lambda rest: [called(rest, letter.id)]
        )

    told = await asyncio.gather(
        *(act() for _ in range(5) for act in (discard, replay)), return_exceptions=True
    )

    assert [type(each) for each in told].count(NoSuchLetter) == 9, told
    kept = await sql.fetchval("SELECT count(*) FROM discarded_letters")
    assert kept + len(await grave.put_back()) == 1


async def test_what_one_has_in_hand_another_has_not(grave: "Grave") -> None:
    """A second operator waits for a while and is told why; afterwards all letters are there."""
    await grave.lay(*BODIES)

    async with grave.box().opened():
        with pytest.raises(LettersHeld, match="in hand"):
            await acts.look(grave.box(patience_s=0.2))

    assert len(await acts.look(grave.box())) == len(BODIES)
