"""Promises about the Swagger UI files: they are the released ones, and all are here."""

import hashlib
import re
from pathlib import Path

import wallet_api

FOLDER = Path(wallet_api.__file__).parent / "static" / "swagger"
USED = {
    "favicon-32x32.png",
    "swagger-ui-bundle.js",
    "swagger-ui-standalone-preset.js",
    "swagger-ui.css",
}
# The Apache license asks for both; the bundles name their own notices.
LICENSES = {
    "LICENSE",
    "NOTICE",
    "swagger-ui-bundle.js.LICENSE.txt",
    "swagger-ui-standalone-preset.js.LICENSE.txt",
}


def _recorded() -> dict[str, str]:
    lines = (FOLDER / "VERSION").read_text("ascii").splitlines()[1:]
    return {name: digest for digest, name in (line.split("  ", 1) for line in lines)}


def test_the_files_are_the_released_ones() -> None:
    """No vendored file differs from the release by one byte."""
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in FOLDER.iterdir()
        if path.name != "VERSION"
    }

    assert found == _recorded()


def test_nothing_is_missing() -> None:
    """What the page loads is here, with its licenses, and nothing else is."""
    assert _recorded().keys() == USED | LICENSES


def test_the_version_is_named() -> None:
    """The first line says what to ask the package registry for when it is time to renew."""
    first = (FOLDER / "VERSION").read_text("ascii").splitlines()[0]

    assert re.fullmatch(r"swagger-ui-dist 5\.\d+\.\d+", first)
