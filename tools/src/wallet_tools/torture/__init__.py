"""This package is where a private stack is put under load and faults, and its promises checked."""
