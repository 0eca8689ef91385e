"""Promises about acknowledgements: none before its time, none forgotten, as few as possible."""

import random

from wallet_worker.acks import Tags


def test_a_whole_run_is_acknowledged_at_once() -> None:
    """What is done without a gap is one acknowledgement, in whatever order it got done."""
    tags = Tags()
    tags.done |= {3, 1, 2}

    assert tags.take() == (3, [])
    assert tags.take() == (0, [])


def test_nothing_open_is_acknowledged() -> None:
    """What lies behind an open message is acknowledged alone, and passed over later."""
    tags = Tags()
    tags.done |= {1, 3, 4}
    assert tags.take() == (1, [3, 4])

    tags.done |= {2, 5}

    assert tags.take() == (5, [])


def test_a_run_ends_with_a_message_that_is_still_the_brokers_to_be_told_of() -> None:
    """The broker refuses a run that ends with what it no longer waits for."""
    tags = Tags()
    tags.done |= {1, 2}
    tags.gone |= {3, 4}
    assert tags.take() == (2, [])

    tags.gone.add(5)
    assert tags.take() == (0, [])


def test_each_message_is_told_exactly_once_in_any_order() -> None:
    """However deliveries end, each is covered by one acknowledgement, and none that is open."""
    chance = random.Random(7)
    for _ in range(200):
        tags, told, open_tags = Tags(), set[int](), list(range(1, 40))
        rejected = set(chance.sample(open_tags, 5))
        chance.shuffle(open_tags)
        while open_tags:
            ended = {open_tags.pop() for _ in range(min(len(open_tags), chance.randint(1, 6)))}
            tags.gone |= ended & rejected
            tags.done |= ended - rejected
            run, alone = tags.take()
            covered = {tag for tag in range(1, run + 1) if tag not in told | rejected} | set(alone)
            assert not covered & set(open_tags)
            assert run == 0 or run in covered
            told |= covered

        assert told == set(range(1, 40)) - rejected
