"""This module is where the rules are run over the repository: `python -m wallet_tools.tidy`."""

import argparse
import sys
from pathlib import Path

from wallet_tools.tidy.rules import check
from wallet_tools.tidy.source import sources_under


def main() -> int:
    parser = argparse.ArgumentParser(prog="tidy", description="check the house rules")
    parser.add_argument("root", nargs="?", type=Path, default=Path.cwd())
    sources = list(sources_under(parser.parse_args().root.resolve()))
    findings = check(sources)
    for finding in findings:
        print(finding)
    print(f"tidy: {len(sources)} files, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
