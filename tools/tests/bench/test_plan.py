"""This module is where the order of a benchmark is shown: what runs beside what."""

from wallet_tools.bench.plan import (
    Cell,
    Load,
    Reference,
    Run,
    cells,
    neighbours,
    reference_of,
    steps,
)
from wallet_tools.bench.session import without_bulk

PGBENCH = Reference("pgbench", 32)
COLD = Cell(Load.COLD, 64)
HOT = Cell(Load.HOT, 64)
BULK = Cell(Load.BULK, 12)
HALF = Cell(Load.OPEN, 64, 0.5)


def test_every_load_stands_between_two_references() -> None:
    """Loads alternate with pgbench, and two loads share the run between them."""
    planned = steps([COLD, HOT], alternations=2, subjects=1)

    assert planned == [
        PGBENCH,
        Run(COLD, 0, 0),
        PGBENCH,
        Run(HOT, 0, 0),
        PGBENCH,
        Run(COLD, 0, 1),
        PGBENCH,
        Run(HOT, 0, 1),
        PGBENCH,
    ]
    assert list(neighbours(planned, 3)) == [2, 4]


def test_subjects_take_turns() -> None:
    """Two revisions run one after the other between references, and who is first changes."""
    planned = steps([COLD], alternations=2, subjects=2)

    assert [step.subject for step in planned if isinstance(step, Run)] == [0, 1, 1, 0]
    assert list(neighbours(planned, 1)) == list(neighbours(planned, 2)) == [0, 3]


def test_an_open_loop_is_held_against_its_own_peak() -> None:
    """The peak is measured anew in every alternation, on the same subject, right before."""
    planned = steps([HALF], alternations=2, subjects=2)

    for index, step in enumerate(planned):
        if isinstance(step, Run):
            before = [planned[at] for at in neighbours(planned, index)]
            assert before == [Reference("peak", 64, step.subject)]


def test_references_fit_their_loads() -> None:
    """One connection is held against one client, a read against the bare handler."""
    assert reference_of(Cell(Load.COLD, 1), 0) == Reference("pgbench", 1)
    assert reference_of(Cell(Load.COLD, 256), 0) == PGBENCH
    assert reference_of(Cell(Load.READS, 256), 1) == Reference("bare", 256)


def test_connections_apply_to_the_loads_that_vary_them() -> None:
    """Bulk, replays and the pipeline have connection counts of their own."""
    found = cells([Load.COLD, Load.BULK, Load.PIPELINE], [1, 256])

    assert found == [Cell(Load.COLD, 1), Cell(Load.COLD, 256), BULK, Cell(Load.PIPELINE, 64)]


def test_what_a_revision_lacks_is_left_out() -> None:
    """Without the route there is no bulk load, and no reference runs twice in a row."""
    planned = steps([COLD, BULK], alternations=1, subjects=2)

    assert without_bulk(planned, [0, 1]) == steps([COLD], alternations=1, subjects=2)
    assert Run(BULK, 0, 0) in without_bulk(planned, [1])
    assert Run(BULK, 1, 0) not in without_bulk(planned, [1])
