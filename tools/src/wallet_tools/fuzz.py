"""
This module is where the API is asked everything that its own description allows, and more.

Schemathesis makes requests from docs/openapi.json, good and bad ones, and checks each answer
against it: no 5xx, documented statuses, media types and bodies, what is invalid refused, what is
secured refused without a token. A stack of its own is brought up, with tokens, and taken down.

  tools/dev fuzz                    every route but the streams, all phases, about four minutes
  tools/dev fuzz --quick            the routes that move money, one minute
  tools/dev fuzz --seed 7 --examples 500
"""

import argparse
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import httpx

from wallet_api import token
from wallet_tools import environment, stack
from wallet_tools.options import Options
from wallet_tools.state import ROOT, StateFolder

_ALL: Final = ("examples", "coverage", "fuzzing", "stateful")
# One has no end, and the body of the other is no JSON: there is nothing to check them against.
_LEFT_OUT: Final = (
    *("--exclude-path", "/v1/wallets/{wallet_id}/events/stream"),
    *("--exclude-path", "/v1/batches/stream"),
)
_MONEY: Final = (
    *("--include-path", "/v1/wallets", "--include-path", "/v1/wallets/{wallet_id}/deposit"),
    *("--include-path", "/v1/wallets/{wallet_id}/transfer"),
)
_TIMEOUT_S: Final = 30


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it on a stack of its own; 0 if every answer was as described."""
    parser = argparse.ArgumentParser(
        prog="tools/dev fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--quick", action="store_true", help="what the test suite runs")
    parser.add_argument("--seed", type=int, default=1, help="repeat a run (default 1)")
    parser.add_argument("--examples", type=int, default=50, help="per route (default 50)")
    options = parser.parse_args(arguments)
    secret = secrets.token_hex(32)
    # The stack's processes inherit them.
    os.environ |= {"WALLET_AUTH": "jwt", "WALLET_JWT_SECRET": secret}
    with tempfile.TemporaryDirectory(prefix="wallet-fuzz-") as folder:
        Path(folder).chmod(0o755)
        state = StateFolder.at(folder)
        run = stack.up(state, Options(has_broker=False))
        try:
            bearer = token.mint("fuzz", ["admin"], 86_400)
            seed(run.api, bearer)
            return fuzz(run.api, bearer, options)
        finally:
            stack.down(state)


def seed(url: str, bearer: str) -> None:
    """Put something there, so that lists and details are not checked against nothing."""
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {bearer}"}) as client:
        for path, body in [
            ("", {"id": "a", "ownerId": "ada"}),
            ("", {"id": "b"}),
            ("/a/deposit", {"amount": "1000", "requestId": "k", "metadata": {"note": "first"}}),
            ("/a/withdraw", {"amount": "1"}),
            ("/a/transfer", {"amount": "2", "toWalletId": "b"}),
        ]:
            client.post(f"/v1/wallets{path}", json=body).raise_for_status()


def fuzz(url: str, bearer: str, options: argparse.Namespace) -> int:
    """Ask the API at `url`; return 0 if every answer was as described."""
    if options.quick:
        what: tuple[str, ...] = (
            *_MONEY,
            "--phases",
            "examples,coverage,fuzzing",
            "--max-examples",
            "3",
        )
        # The same requests on every machine.
        chosen: tuple[str, ...] = ("--generation-deterministic",)
    else:
        what = (*_LEFT_OUT, "--phases", ",".join(_ALL), "--max-examples", str(options.examples))
        chosen = ("--seed", str(options.seed))
    how = ("--checks", "all", "--mode", "all", "--request-timeout", str(_TIMEOUT_S), "--no-color")
    program = Path(sys.executable).with_name("st")
    with tempfile.TemporaryDirectory(prefix="wallet-fuzz-cases-") as scratch:
        return subprocess.run(
            [str(program), "--config-file", str(ROOT / "schemathesis.toml"), "run"]
            + [str(ROOT / "docs" / "openapi.json"), "--url", url, "--continue-on-failure"]
            + [*what, *chosen, *how],
            cwd=scratch,
            # Not an argument: those are for everybody to see.
            env=environment.system() | {"WALLET_FUZZ_TOKEN": bearer},
            check=False,
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
