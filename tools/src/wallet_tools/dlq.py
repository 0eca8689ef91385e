"""This module is where an operator deals with dead letters: `wallet dlq`."""

import argparse
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import msgspec

from wallet_common.topology import Topology
from wallet_db_orm.database import Database
from wallet_letters import acts
from wallet_letters.acts import Pace, Replayed
from wallet_letters.broker import BrokerBox
from wallet_letters.letters import (
    Letter,
    LetterBox,
    LettersAway,
    NoSuchLetter,
    called,
    is_words,
    of_group,
)
from wallet_letters.table import TableBox
from wallet_letters.views import ListedLetter, ShownLetter, listed, shown
from wallet_runtime.fraud import FraudSettings
from wallet_runtime.settings import secret
from wallet_tools.command import Refused, add_verb, operator, print_json, with_database

_EPILOG: Final = """\
A dead letter is a message that the worker gave up on. It rests until you act:

  wallet dlq list                     what rests, grouped by what it died of
  wallet dlq show ID                  one letter: why, what it says, what a replay would change
  wallet dlq replay ID                once the cause is mended: through its own queue again
  wallet dlq replay --group G         all that died of the same
  wallet dlq replay --all --rate 50   all, fifty in a second
  wallet dlq discard ID --reason "a test of ours"
                                      out for good; the archive keeps the whole letter

Looking changes nothing. A replayed letter that dies again is back with its `replays` counted up;
one that was applied before changes nothing. What you do is written to the operator log first."""
_SCREENFUL: Final = 24
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))

_T = TypeVar("_T")
Work = Callable[[LetterBox, Database], Coroutine[Any, Any, _T]]


def add(verbs: Any) -> None:  # noqa: ANN401  # argparse's own
    """Add the verb and its own verbs."""
    parser = verbs.add_parser(
        "dlq",
        help="dead letters: list, show, replay, discard",
        description=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    own = parser.add_subparsers(metavar="VERB", required=True)
    listing = add_verb(own, "list", "every letter, grouped by what it died of", _list)
    listing.add_argument("--json", action="store_true", help="for programs")
    showing = add_verb(own, "show", "one letter, and what a replay would change", _show)
    showing.add_argument("id", metavar="ID", help="as `wallet dlq list` tells it")
    showing.add_argument("--json", action="store_true", help="for programs")
    replaying = add_verb(own, "replay", "put letters back into their own queue", _replay)
    which = replaying.add_mutually_exclusive_group(required=True)
    which.add_argument("id", metavar="ID", nargs="?", help="as `wallet dlq list` tells it")
    which.add_argument("--all", action="store_true", help="every letter")
    which.add_argument("--group", metavar="G", help="every letter of a group")
    replaying.add_argument("--rate", metavar="N", type=_rate, help="at most so many in a second")
    discarding = add_verb(own, "discard", "take a letter out; the archive keeps it", _discard)
    discarding.add_argument("id", metavar="ID", help="as `wallet dlq list` tells it")
    discarding.add_argument("--reason", type=_words, required=True, help="why; it is kept")
    for acting in (replaying, discarding):
        acting.add_argument(
            "--by",
            metavar="NAME",
            type=_words,
            help="who does it, for the operator log (default: you@this-machine)",
        )


def _rate(text: str) -> float:
    number = float(text)
    if not 0 < number <= 100_000:
        raise argparse.ArgumentTypeError("letters in a second, more than 0")
    return number


def _words(text: str) -> str:
    if not is_words(text):
        raise argparse.ArgumentTypeError("a few words, on one line")
    return text


def _list(options: argparse.Namespace) -> int:
    async def look(box: LetterBox, _: Database) -> Any:  # noqa: ANN401  # as below
        async with box.opened() as held:
            return listed(held)

    found = _with_letters(look)
    if options.json:
        print_json(found)
        return 0
    members: dict[str, list[ListedLetter]] = defaultdict(list)
    for item in found.items:
        members[item.group].append(item)
    for group in found.groups:
        first = members[group.group][0]
        print(f"{group.group}  {group.count} x {first.error_class}: {first.error}")
        print(f"          first {_age(group.oldest)}, last {_age(group.newest)}")
        for item in members[group.group]:
            again = f"  replayed {item.replays} x" if item.replays else ""
            place = f"{item.routing_key} from {item.queue}"
            print(f"    {item.id}  {place}  {item.size} bytes  {_age(item.last_failed_at)}{again}")
    print(_count(len(found.items)))
    if found.beyond:
        print(f"{found.beyond} more rest behind these; deal with some, then look again")
    return 0


def _show(options: argparse.Namespace) -> int:
    async def look(box: LetterBox, database: Database) -> ShownLetter:
        async with box.opened() as held:
            letter = called(held.letters, options.id)
        rules = FraudSettings.load().fraud_rules
        return await shown(database, letter, _topology().queue, rules)

    letter = _with_letters(look)
    if options.json:
        print_json(letter)
        return 0
    print(f"{letter.error_class}: {letter.error}")
    print(f"  id         {letter.id}   group {letter.group}   replayed {letter.replays} x")
    print(f"  came to    {letter.queue} as {letter.routing_key}, {letter.size} bytes")
    span = f"first {_age(letter.first_failed_at)}, last {_age(letter.last_failed_at)}"
    print(f"  died       after {letter.attempts} attempts, {span}")
    _show_parts(letter)
    return 0


def _show_parts(letter: ShownLetter) -> None:
    print("\nheaders" if letter.headers else "\nno headers")
    for name, value in letter.headers.items():
        print(f"  {_plain(name)}: {_plain(msgspec.json.encode(value).decode())}")
    print("\nbody")
    if bytes(letter.payload) == b"null":
        body = msgspec.convert(letter.body_base64, bytes)
    else:
        body = msgspec.json.format(bytes(letter.payload), indent=2)
    print(_indented(_plain(body.decode(errors="backslashreplace"))))
    if letter.wallet is not None:
        print(f"\nwallet {letter.wallet.wallet_id}, as it stands")
        for name, value in _flat(letter.wallet).items():
            print(f"  {name:<20} {value}")
    print("\na replay would change")
    before, after = _flat(letter.projection.before), _flat(letter.projection.after)
    changed = [name for name in after if before.get(name) != after[name]]
    for name in changed:
        print(f"  {name:<20} {before.get(name, '')} -> {after[name]}")
    if not changed:
        reason = letter.projection.reason or "the projection is none the wiser"
        print(f"  nothing: {_plain(reason)}")


def _replay(options: argparse.Namespace) -> int:
    def choose(letters: Sequence[Letter]) -> Sequence[Letter]:
        if options.id is not None:
            return [called(letters, options.id)]
        return letters if options.all else of_group(letters, options.group)

    def progress(done: int, total: int) -> None:
        if total > _SCREENFUL:
            print(f"{done} of {total}", file=sys.stderr)

    async def act(box: LetterBox, database: Database) -> Replayed:
        pace = Pace(per_second=options.rate)
        return await acts.replay(box, database, operator(options.by), choose, pace, progress)

    replayed = _with_letters(act)
    print(f"{_count(replayed.done)} put back to where it came from")
    for name, reason in list(replayed.refused.items())[:_SCREENFUL]:
        print(f"wallet: {name} stays: {reason}", file=sys.stderr)
    if replayed.refused:
        raise Refused(f"{len(replayed.refused)} could not be put back, and are as they were")
    return 0


def _discard(options: argparse.Namespace) -> int:
    async def act(box: LetterBox, database: Database) -> Letter:
        return await acts.discard(box, database, operator(options.by), options.id, options.reason)

    letter = _with_letters(act)
    print(f"{letter.id} is discarded ({options.reason}); discarded_letters keeps it")
    return 0


def _topology() -> Topology:
    defaults = Topology()
    return Topology(
        os.environ.get("RABBITMQ_EXCHANGE") or defaults.exchange,
        os.environ.get("RABBITMQ_DLX") or defaults.dead_letter_exchange,
    )


def _with_letters(work: Work[_T]) -> _T:
    """Do the work with the letters at hand; raises Refused with what to do."""
    broker = secret("RABBITMQ_URL")

    async def run(database: Database) -> _T:
        box = BrokerBox(broker, _topology()) if broker else TableBox(database)
        return await work(box, database)

    try:
        return with_database(run)
    except NoSuchLetter as unknown:
        raise Refused(f"{unknown}; see `wallet dlq list`") from unknown
    except LettersAway as away:
        raise Refused(str(away)) from away
    except TimeoutError as late:
        raise Refused("the database does not answer in time") from late


def _flat(shown_thing: object) -> dict[str, str]:
    """Return the members as text, a list by its length and the last of it."""
    if shown_thing is None:
        return {}
    flat = {}
    for name, value in msgspec.to_builtins(shown_thing).items():
        if isinstance(value, list):
            flat[name] = str(len(value))
        else:
            flat[name] = _plain(str(value))
    return flat


def _age(at: datetime | None) -> str:
    if at is None:
        return "at an unknown time"
    seconds = max(0, int((datetime.now(UTC) - at).total_seconds()))
    size, unit = next((each for each in _UNITS if seconds >= each[0]), _UNITS[-1])
    return f"{seconds // size} {unit} ago"


def _count(number: int) -> str:
    return "no dead letters" if number == 0 else f"{number} dead letter{'s' * (number != 1)}"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def _plain(text: str) -> str:
    """Return text without what would steer a terminal."""
    return "".join(
        each if each.isprintable() or each == "\n" else "\N{REPLACEMENT CHARACTER}" for each in text
    )
