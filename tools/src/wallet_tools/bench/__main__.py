"""This module is where `python -m wallet_tools.bench` starts."""

import sys

from wallet_tools.bench import access_main, events_main, main

if __name__ == "__main__":
    try:
        if sys.argv[1:2] == ["events"]:
            sys.exit(events_main.run(sys.argv[2:]))
        if sys.argv[1:2] == ["access"]:
            sys.exit(access_main.run(sys.argv[2:]))
        sys.exit(main.run(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
