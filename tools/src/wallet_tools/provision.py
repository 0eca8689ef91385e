"""This module is where system packages that the stack wants are installed, if we may."""

import os
import shutil
import subprocess
from collections.abc import Callable

from wallet_tools import environment
from wallet_tools.rabbitmq import find_server

PACKAGE = "rabbitmq-server"


def ensure_broker(say: Callable[[str], None] = print) -> bool:
    """Install RabbitMQ with apt when it is missing and we are root; return whether it is there."""
    if find_server() is not None:
        return True
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        say(f"RabbitMQ is missing; as root: apt-get install --no-install-recommends {PACKAGE}")
        return False
    say(f"installing {PACKAGE} with apt")
    variables = environment.caller() | {"DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", PACKAGE]):
        done = subprocess.run(
            ["apt-get", *arguments], env=variables, check=False, capture_output=True, text=True
        )
        if done.returncode:
            say(f"apt-get {arguments[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
            return False
    return find_server() is not None
