"""This module is where programs that refuse to run as root find an ordinary user."""

import functools
import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO


@dataclass(frozen=True, slots=True)
class OrdinaryUser:
    """PostgreSQL refuses to run as root; this is who it runs as instead."""

    prefix: tuple[str, ...] = ()
    name: str | None = None

    def popen(
        self, command: list[str], *, env: Mapping[str, str], cwd: Path, stdout: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        """Start the command; the wrapper executes it in place, so the pid is the command's."""
        identity = pwd.getpwnam(self.name) if self.name else None
        groups: list[int] | None = [] if identity else None
        return subprocess.Popen(
            [*self.prefix, *command],
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=identity.pw_uid if identity else None,
            group=identity.pw_gid if identity else None,
            extra_groups=groups,
        )

    def give(self, *paths: Path) -> None:
        if self.name:
            for path in paths:
                shutil.chown(path, self.name, pwd.getpwnam(self.name).pw_gid)


@functools.cache
def ordinary_user() -> OrdinaryUser:
    """Return us, if we are not root; else root under another name; else nobody."""
    if os.geteuid() != 0:
        return OrdinaryUser()
    # In a user namespace the files stay root's and no folder must be opened to others.
    unshare = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")
    if shutil.which("unshare"):
        probe = subprocess.run([*unshare, "true"], check=False, capture_output=True)
        if probe.returncode == 0:
            return OrdinaryUser(prefix=unshare)
    return OrdinaryUser(name="nobody")
