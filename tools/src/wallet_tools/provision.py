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
    if reason := install(PACKAGE):
        say(reason)
        return False
    return find_server() is not None


def install(package: str) -> str:
    """Install a package with apt; return why not, or nothing if it is there now."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return f"{package} is missing; as root: apt-get install --no-install-recommends {package}"
    variables = environment.caller() | {"DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", package]):
        done = subprocess.run(
            ["apt-get", *arguments], env=variables, check=False, capture_output=True, text=True
        )
        if done.returncode:
            return f"apt-get {arguments[0]} failed: {done.stderr.strip() or done.stdout.strip()}"
    return ""
