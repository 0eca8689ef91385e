"""This module is where the verbs of `tools/dev` are read and handed to those who do them."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final, NoReturn
from urllib.parse import urlsplit

import msgspec

from wallet_tools import checks, environment, mutants, provision, stack
from wallet_tools.options import Options
from wallet_tools.postgres import ServerFailed
from wallet_tools.state import ROOT, StateFolder
from wallet_tools.stress import add_arguments as add_stress_arguments, stress

EXIT_DOWN: Final = 3
EPILOG: Final = """\
examples:
  tools/dev demo                      see it work: a short story over HTTP, the stack stays up
  tools/dev up                        everything, in the foreground, until Ctrl-C
  tools/dev up --detach --port 8000   everything, in the background, the API on port 8000
  tools/dev status                    what runs (exit code 0: up, 3: down)
  tools/dev logs -f api               follow the API's log
  tools/dev wallet verify             the operator's commands, against the running stack
  tools/dev down --wipe               stop, and forget all data
  tools/dev test libs/common          a part of the tests; without arguments: all of them
  tools/dev check                     what CI runs
  tools/dev bench --quick             how fast it is, beside pgbench
  tools/dev stress --shape spike      a mixed load whose every answer is read, then the proof
  tools/dev bench access              what tokens and limits cost

A stack is a folder: --state DIR gives a second one that never meets the first.
WALLET_*, RABBITMQ_*, FRAUD_*, LOG_* and ENABLE_SWAGGER are passed on to API and worker;
RABBITMQ_URL set to nothing (RABBITMQ_URL= tools/dev up) means: no broker."""


def main(arguments: Sequence[str] | None = None) -> int:
    argv = list(sys.argv[1:] if arguments is None else arguments)
    # These have arguments of their own, which are none of our business.
    passed_on: dict[str, Callable[[list[str]], int]] = {
        "test": checks.run_tests,
        "demo": _demo,
        "wallet": _wallet,
        "bench": _bench,
        "mutants": mutants.main,
        "fuzz": lambda rest: _run([sys.executable, "-m", "wallet_tools.fuzz", *rest]),
    }
    try:
        if argv and argv[0] in passed_on:
            return passed_on[argv[0]](argv[1:])
        options = _parser().parse_args(argv or ["--help"])
        code: int = options.do(options)
        return code
    except (stack.StackFailed, ServerFailed) as error:
        print(f"tools/dev: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tools/dev",
        description="The one door: a private stack of PostgreSQL, RabbitMQ, API and worker; tests.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    def verb(
        name: str, help_: str, do: Callable[[argparse.Namespace], int]
    ) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=help_, description=help_, allow_abbrev=False)
        added.set_defaults(do=do)
        return added

    _add_up(verb("up", "bring everything up and print the URLs", _up))
    downs = verb("down", "stop everything; the data stays", _down)
    downs.add_argument("--wipe", action="store_true", help="remove the data too")
    statuses = verb("status", "show what runs; exit code 0 up, 3 down", _status)
    statuses.add_argument("--json", action="store_true", help="for programs")
    logs = verb("logs", "show the logs", _logs)
    logs.add_argument("-f", "--follow", action="store_true", help="go on as they grow")
    names = ", ".join(stack.LOGS)
    logs.add_argument("parts", nargs="*", type=_part, metavar="PART", help=f"any of: {names}")
    verb("demo", "bring everything up and tell a short story over HTTP", _never)
    verb("wallet", "run the operator's CLI against the running stack", _never)
    verb("test", "run the tests on private servers; takes pytest's arguments", _never)
    checking = verb("check", "format, lint, types, import contracts, house rules, tests", _check)
    checking.add_argument("--keep-going", action="store_true", help="do not stop at a failure")
    checking.add_argument("--fast", action="store_true", help="everything but the tests")
    stressing = verb("stress", "put a mixed load on the stack, then verify the books", stress)
    add_stress_arguments(stressing)
    verb("bench", "measure the service beside pgbench; see tools/dev bench --help", _never)
    verb("mutants", "change the domain on purpose: its tests have to notice", _never)
    verb("fuzz", "ask the API all that its description allows, and what it does not", _never)
    verb("setup", "prepare the machine: the environment, RabbitMQ (as root)", _setup)
    secrets = "note in .secrets.baseline what looks like a secret and is none, once you looked"
    verb("secrets", secrets, lambda _: _supply("secrets", "--accept"))
    billing = verb("sbom", "write what the environment is made of, as CycloneDX JSON", _sbom)
    billing.add_argument("file", nargs="?", default="sbom.json", help="default sbom.json")
    verb("lock", "resolve the dependencies anew into requirements.lock", lambda _: checks.lock())
    for with_state in (downs, statuses, logs, stressing):
        _add_state(with_state)
    return parser


def _add_up(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--detach", action="store_true", help="return when /readyz answers 200")
    parser.add_argument("--port", type=_port, help="the API's port (default: a free one, kept)")
    parser.add_argument("--api-processes", type=_count, metavar="N", help="default 2")
    parser.add_argument("--worker-processes", type=_count, metavar="N", help="default 1")
    parser.add_argument("--no-broker", action="store_true", help="events go through PostgreSQL")
    _add_state(parser)


def _add_state(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--state", metavar="DIR", help="the stack's folder (default: .local)")


def _port(text: str) -> int:
    port = int(text)
    if not 1 <= port <= 65_535:
        raise argparse.ArgumentTypeError("a port is a number from 1 to 65535")
    return port


def _count(text: str) -> int:
    count = int(text)
    if not 1 <= count <= 64:
        raise argparse.ArgumentTypeError("a number of processes from 1 to 64")
    return count


def _part(text: str) -> str:
    if text not in stack.LOGS:
        raise argparse.ArgumentTypeError(f"no part is called {text!r}")
    return text


def _up(options: argparse.Namespace) -> int:
    state = StateFolder.at(options.state)
    asked = Options(
        port=options.port,
        api_processes=options.api_processes,
        worker_processes=options.worker_processes,
        has_broker=False if options.no_broker else None,
    )
    if options.detach:
        _print_urls(stack.up(state, asked), state)
        return 0
    return up_until_told(state, asked)


def up_until_told(state: StateFolder, asked: Options) -> int:
    """Stay in the foreground; whoever ends us, by Ctrl-C or SIGTERM, ends the stack."""

    def leave(_number: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt

    if state.supervisor_pid() is not None:
        _print_urls(stack.up(state, asked), state)
        return 0
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
    try:
        _print_urls(stack.up(state, asked), state)
        print("Ctrl-C stops it.", flush=True)
        while state.supervisor_pid() is not None:
            time.sleep(0.3)
        print("the stack was stopped from elsewhere", flush=True)
    except KeyboardInterrupt:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        print("\nstopping", flush=True)
        stack.down(state)
    return 0


def _print_urls(run: stack.Run, state: StateFolder) -> None:
    database = urlsplit(run.database)
    port = urlsplit(run.rabbitmq).port if run.rabbitmq else None
    rows = {
        "API": run.api,
        "Docs": run.docs,
        "Database": f"{database.hostname}:{database.port}{database.path} (URL in run.json)",
        "RabbitMQ": f"{database.hostname}:{port} (URL in run.json)" if port else "none",
        "State": str(state.path),
    }
    for name, value in rows.items():
        print(f"  {name:<9} {value}")
    sys.stdout.flush()


def _down(options: argparse.Namespace) -> int:
    state = StateFolder.at(options.state)
    was_running = state.supervisor_pid() is not None
    left = stack.down(state, wipe=options.wipe)
    if left:
        print(f"ended {left} processes that had no supervisor any more")
    print("stopped" if was_running or left else "nothing was running")
    return 0


def _status(options: argparse.Namespace) -> int:
    status = stack.status(StateFolder.at(options.state))
    if options.json:
        print(msgspec.json.encode(status).decode())
    else:
        print(f"{status.state}{f' at {status.api}' if status.api else ''}")
        for each in status.processes:
            since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each["since"]))
            port = each["port"] or ""
            print(
                f"  {each['name']:<12} {each['state']:<9} pid {each['pid'] or '-':<8}"
                f" since {since}  restarts {each['restarts']:<3} {port}"
            )
    return EXIT_DOWN if status.state == "down" else 0


def _logs(options: argparse.Namespace) -> int:
    state = StateFolder.at(options.state)
    if not state.logs.exists():
        print(f"no logs at {state.path}", file=sys.stderr)
        return 1
    return _run(stack.tail_command(state, options.parts, follow=options.follow))


def _check(options: argparse.Namespace) -> int:
    return checks.check(keep_going=options.keep_going, with_tests=not options.fast)


def _setup(_options: argparse.Namespace) -> int:
    broker = provision.ensure_broker()
    print(f"ready: {ROOT / '.venv'}; RabbitMQ {'is there' if broker else 'is missing (optional)'}")
    return 0


def _sbom(options: argparse.Namespace) -> int:
    return _supply("sbom", options.file)


def _supply(*arguments: str) -> int:
    return _run([sys.executable, "-m", "wallet_tools.supply", *arguments])


def _demo(arguments: list[str]) -> int:
    return _run([sys.executable, "-m", "wallet_tools.demo", *arguments])


def _bench(arguments: list[str]) -> int:
    return _run([sys.executable, "-m", "wallet_tools.bench", *arguments])


def _wallet(arguments: list[str]) -> int:
    """Run the operator's CLI; what the caller's environment says goes before the stack's."""
    parser = argparse.ArgumentParser(prog="tools/dev wallet", add_help=False, allow_abbrev=False)
    _add_state(parser)
    options, rest = parser.parse_known_args(arguments)
    state = StateFolder.at(options.state)
    run = stack.read_run(state)
    found: dict[str, str] = {}
    if run:
        as_owner = (["partitions", "check"], ["keys", "seal"])
        needs_owner = rest[:1] == ["migrate"] or rest[:2] in as_owner or "--drop" in rest
        database = run.database_owner if needs_owner else run.database
        if rest[:1] == ["checkpoint"]:
            database = run.database_worker or database
        found = environment.addresses(database, run.rabbitmq)
    if state.master_key_file.exists():
        found |= environment.master_key(state.master_key_file)
    found |= state.checkpoint_settings() if run else {}
    if rest[:1] == ["torture"] and options.state is not None:
        rest += ["--state", options.state]  # Not a stack that runs: one that it makes there.
    caller = environment.caller()
    found = {name: value for name, value in found.items() if f"{name}_FILE" not in caller}
    return _run([sys.executable, "-m", "wallet_tools.cli", *rest], found | caller)


def _never(_options: argparse.Namespace) -> int:
    raise AssertionError("main hands this verb on before it parses")


def _run(command: list[str], variables: dict[str, str] | None = None) -> int:
    """Become the command: its exit code, its signals and its terminal are ours."""
    sys.stdout.flush()
    os.execvpe(command[0], command, variables or environment.caller())  # noqa: S606 - no shell wanted


if __name__ == "__main__":
    sys.exit(main())
