"""
This module is where what goes into the project is looked over: secrets, and what it is made of.

    python -m wallet_tools.supply secrets            fail if a file holds what looks like a secret
    python -m wallet_tools.supply secrets --accept   note all that is there now: none of it is one
    python -m wallet_tools.supply sbom FILE          the environment as a CycloneDX bill
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any, Final

from detect_secrets.core import baseline
from detect_secrets.core.secrets_collection import SecretsCollection

from wallet_tools.state import ROOT

BASELINE: Final = ".secrets.baseline"
# Made by programs out of what is looked at: hashes, schemas, a vendored bundle, drawings.
_MADE: Final = (
    *("requirements.lock", "docs/openapi.json", "docs/asyncapi.json", "docs/events/", BASELINE),
    *("services/api/src/wallet_api/static/", ".svg"),
)


def check_secrets(root: Path = ROOT) -> int:
    """Name what looks like a secret and is not in the baseline; 0 if there is nothing."""
    known = _known(root)
    new = _found(root) - known
    for file, secret in sorted(new, key=lambda each: (each[0], each[1].line_number)):
        print(f"{file}:{secret.line_number}: {secret.type}")
    if new:
        print("Take it out (and change it: it was on a disk). If it is none: tools/dev secrets")
    return 1 if new else 0


def accept_secrets(root: Path = ROOT) -> int:
    """Write the baseline anew: whatever looks like a secret now is told to be none."""
    _known(root)
    found = _found(root)
    told: dict[str, Any] = baseline.format_for_output(found)
    del told["generated_at"]  # When it was written tells nothing, and two writers would collide.
    (root / BASELINE).write_text(json.dumps(told, indent=2) + "\n")
    print(f"{sum(1 for _ in found)} places are noted in {BASELINE}; review the difference")
    return 0


def write_sbom(file: Path) -> int:
    """Write which packages the environment has, with their versions and licences; offline."""
    program = Path(sys.executable).with_name("cyclonedx-py")
    # Its own check of what it wrote takes half a minute, and a test looks at it anyway.
    form = ("--of", "JSON", "--output-reproducible", "--no-validate", "-o", str(file))
    return subprocess.run(
        [str(program), "environment", sys.executable, *form], check=False
    ).returncode


def _known(root: Path) -> SecretsCollection:
    """Return what the baseline has; it also says how to look."""
    return baseline.load(baseline.load_from_file(str(root / BASELINE)), str(root / BASELINE))


def _found(root: Path) -> SecretsCollection:
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    there = subprocess.run(listing, cwd=root, capture_output=True, check=True, text=True)
    files = [
        name
        for name in there.stdout.splitlines()
        if not name.startswith(_MADE) and not name.endswith(_MADE) and (root / name).is_file()
    ]
    found = SecretsCollection()
    # A finding bears its file's name as the scan was told it, and every checkout has its own root.
    with chdir(root):
        found.scan_files(*files, num_processors=os.cpu_count())
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="wallet_tools.supply",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    secrets = verbs.add_parser("secrets")
    secrets.add_argument("--accept", action="store_true")
    verbs.add_parser("sbom").add_argument("file", type=Path)
    options = parser.parse_args(arguments)
    if options.verb == "sbom":
        return write_sbom(options.file)
    return accept_secrets() if options.accept else check_secrets()


if __name__ == "__main__":
    sys.exit(main())
