"""This module is where `python -m wallet_tools.demo` starts."""

import sys

from wallet_tools.demo.main import main

sys.exit(main())
