"""This module is where a plan of faults is read: it follows from its seed alone."""

import pytest

from wallet_tools.torture.plan import Kind, Lane, parse_kinds, schedule

TWENTY_MINUTES = 1200.0


def test_a_seed_makes_one_plan() -> None:
    """The same seed, length and kinds give the same faults; another seed gives others."""
    assert schedule(7, 60, tuple(Kind)) == schedule(7, 60, tuple(Kind))
    assert schedule(7, 60, tuple(Kind)) != schedule(8, 60, tuple(Kind))


def test_a_kind_left_out_moves_no_other() -> None:
    """Without clocks and disks, everything else strikes whom and when it did with them."""
    every = schedule(7, 300, tuple(Kind))
    fewer = schedule(7, 300, [kind for kind in Kind if kind not in {Kind.CLOCK, Kind.DISK}])

    assert fewer == [fault for fault in every if fault.kind not in {Kind.CLOCK, Kind.DISK}]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_three_runs_kill_each_type_often_enough(seed: int) -> None:
    """Twenty minutes plan at least 67 kills of each type of process: 200 over three seeds."""
    plan = schedule(seed, TWENTY_MINUTES, tuple(Kind))

    for lane in (Lane.API, Lane.WORKER, Lane.POSTGRES, Lane.RABBITMQ):
        names = [fault.name for fault in plan if fault.lane is lane]
        assert sum(name.startswith("kill") or name == "immediate" for name in names) >= 67, lane


def test_every_fault_begins_and_ends_within_the_run() -> None:
    """Nothing strikes so late that it could not be over when the load is."""
    plan = schedule(3, 45, tuple(Kind))

    assert plan == sorted(plan, key=lambda fault: fault.at_s)
    assert all(0 < fault.at_s < 43 for fault in plan)
    assert {fault.kind for fault in plan} == set(Kind)


def test_a_fault_that_kills_needs_kills_to_be_asked_for() -> None:
    """Without `kill` the proxy only does what a proxy does."""
    names = {fault.name for fault in schedule(3, 300, [Kind.PROXY])}

    assert names == {"delay", "cut", "dark", "swallow_commit", "swallow_confirm"}


def test_kinds_are_read_in_their_own_order() -> None:
    """A list names kinds in any order; `all` is every one; a wrong one is named."""
    assert parse_kinds("pg, kill") == (Kind.KILL, Kind.PG)
    assert parse_kinds("all") == tuple(Kind)
    with pytest.raises(ValueError, match="earthquake"):
        parse_kinds("kill,earthquake")
    with pytest.raises(ValueError, match="nothing"):
        parse_kinds("")
