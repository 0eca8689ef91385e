"""This module is where it is found out which commands of a batch have to wait for one another."""

from collections.abc import Sequence

from wallet_common.commands import Ask, pays_to


def tied(commands: Sequence[Ask]) -> Sequence[Sequence[int]]:
    """
    Return the places of those that are to be carried out one after the other, group by group.

    A wallet's own commands keep their order anyway. But a transfer reaches its recipient later, and
    what cannot arrive comes back to the sender later still. So wallets that transfers connect, at
    whatever remove, are one group, and all commands of a group are tied, unless it has but one.
    """
    transfers = [(each.wallet_id, to) for each in commands if (to := pays_to(each)) is not None]
    if not transfers:
        return []
    nearer: dict[str, str] = {}

    def group(wallet_id: str) -> str:
        while (other := nearer.get(wallet_id, wallet_id)) != wallet_id:
            nearer[wallet_id] = nearer.get(other, other)
            wallet_id = other
        return wallet_id

    for sender, recipient in transfers:
        nearer[group(recipient)] = group(sender)
    groups: dict[str, list[int]] = {group(sender): [] for sender, _ in transfers}
    for place, each in enumerate(commands):
        if (found := groups.get(group(each.wallet_id))) is not None:
            found.append(place)
    return [each for each in groups.values() if len(each) > 1]
