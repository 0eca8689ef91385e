"""This module is where a transfer is shown to walk legal edges only, and always to an end."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, strategies as st

from wallet_common.commands import CompleteTransfer, CreditTransfer, DebitTransfer, RefundTransfer
from wallet_common.errors import InvariantViolated
from wallet_common.ledger import decide
from wallet_common.money import MAX_MINOR, parse_amount
from wallet_common.transfer import Transfer, TransferState
from wallet_common.wallet import Posted, Surroundings, Wallet, WalletStatus

INITIATED, DEBITED = TransferState.INITIATED, TransferState.DEBITED
COMPLETED, COMPENSATED, FAILED = (
    TransferState.COMPLETED,
    TransferState.COMPENSATED,
    TransferState.FAILED,
)
LEGAL = {
    (INITIATED, DEBITED),
    (DEBITED, COMPLETED),
    (DEBITED, COMPENSATED),
    (COMPENSATED, FAILED),
}

states = st.sampled_from(TransferState)
statuses = st.sampled_from(WalletStatus)


def a_transfer(state: TransferState) -> Transfer:
    return Transfer(
        id="t1",
        from_wallet_id="sender",
        to_wallet_id="recipient",
        amount_minor=250,
        currency="USD",
        request_id="r1",
        state=state,
        from_balance_minor=750,
    )


def a_debited_pair() -> tuple[Wallet, Transfer]:
    """The sender and the transfer after a debit of 2.50 out of 10.00."""
    command = DebitTransfer(
        wallet_id="sender",
        request_id="r1",
        operation_id="t1",
        amount=parse_amount("2.50"),
        to_wallet_id="recipient",
    )
    sender = Wallet("sender", "USD", balance_minor=1_000, version=1)
    posted = decide(sender, command, Surroundings(recipient=Wallet("recipient", "USD", version=1)))
    assert isinstance(posted, Posted)
    assert posted.transfer is not None
    return posted.wallet, posted.transfer


@pytest.mark.parametrize("start", TransferState)
@pytest.mark.parametrize("following", TransferState)
def test_only_legal_edges_can_be_walked(start: TransferState, following: TransferState) -> None:
    """Four edges lead on; any other is a bug that names the transfer and both states."""
    transfer = a_transfer(start)

    if (start, following) in LEGAL:
        assert transfer.moved(following) is following
    else:
        with pytest.raises(InvariantViolated, match=f"t1 cannot go from {start} to {following}"):
            transfer.moved(following)


@pytest.mark.parametrize("state", TransferState)
def test_completed_and_failed_are_final(state: TransferState) -> None:
    """A transfer ends completed or failed, nowhere else."""
    assert a_transfer(state).is_final == (state in {COMPLETED, FAILED})


@given(states, st.lists(states, max_size=4))
def test_a_path_is_walked_edge_by_edge(start: TransferState, path: list[TransferState]) -> None:
    """A path is legal when each of its edges is; so nothing leads out of a final state."""
    is_legal = all(edge in LEGAL for edge in pairwise([start, *path]))

    try:
        reached: TransferState | None = a_transfer(start).moved(*path)
    except InvariantViolated:
        reached = None

    assert reached == ([start, *path][-1] if is_legal else None)


@given(
    recipient=st.none()
    | st.builds(
        Wallet,
        st.just("recipient"),
        st.sampled_from(["USD", "USD", "JPY"]),
        balance_minor=st.sampled_from([0, 500, MAX_MINOR - 250, MAX_MINOR - 249, MAX_MINOR]),
        status=statuses,
        version=st.integers(1, 9),
    ),
    sender_status=statuses,
)
def test_a_debited_transfer_ends_after_two_more_steps(
    recipient: Wallet | None, sender_status: WalletStatus
) -> None:
    """Whatever became of recipient and sender: credited and completed, or paid back and failed."""
    sender, transfer = a_debited_pair()
    sender = msgspec.structs.replace(sender, status=sender_status)
    credit = CreditTransfer(
        wallet_id="recipient",
        transfer_id="t1",
        operation_id="o2",
        from_wallet_id="sender",
        amount_minor=transfer.amount_minor,
        currency=transfer.currency,
        request_id="r1",
    )

    credited = decide(recipient, credit, Surroundings())
    last: CompleteTransfer | RefundTransfer
    if isinstance(credited, Posted):
        last = CompleteTransfer(
            wallet_id="sender",
            transfer_id="t1",
            to_balance_minor=credited.wallet.balance_minor,
        )
    else:
        last = RefundTransfer(
            request_id="r1",
            wallet_id="sender",
            transfer_id="t1",
            operation_id="o3",
            reason=credited.reason,
        )
    ended = decide(sender, last, Surroundings(transfer=transfer))

    assert isinstance(ended, Posted)
    assert ended.transfer is not None
    received_minor = 0
    if isinstance(credited, Posted) and credited.entry is not None:
        received_minor = credited.entry.amount_minor
    assert (ended.transfer.state, ended.wallet.balance_minor, received_minor) in {
        (COMPLETED, 750, 250),
        (FAILED, 1_000, 0),
    }


def test_a_credit_is_of_one_minor_unit_at_least() -> None:
    """The smallest amount arrives; a credit of nothing is a bug of the caller."""
    wallet = Wallet("w2", "USD", version=1)

    posted = decide(wallet, a_credit(1), Surroundings())

    assert isinstance(posted, Posted)
    assert posted.wallet.balance_minor == 1
    with pytest.raises(AssertionError, match=r"^the debit checked the amount$"):
        decide(wallet, a_credit(0), Surroundings())


def a_credit(amount_minor: int) -> CreditTransfer:
    return CreditTransfer(
        wallet_id="w2",
        transfer_id="t",
        operation_id="o",
        from_wallet_id="w1",
        amount_minor=amount_minor,
        currency="USD",
        request_id="r",
    )
