"""This module is where `python -m wallet_tools.bench` starts."""

import sys

from wallet_tools.bench.main import run

if __name__ == "__main__":
    try:
        sys.exit(run(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
