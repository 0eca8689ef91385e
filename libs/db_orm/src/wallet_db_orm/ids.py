"""This module is where new ids come from: UUIDv7, so that keys grow with time."""

import uuid_utils


def new_id() -> str:
    """Return a fresh time-ordered id."""
    return str(uuid_utils.uuid7())
