"""This module is where property tests are kept short, and told not to mind a slow machine."""

from hypothesis import settings

settings.register_profile("wallet", deadline=None, max_examples=60)
settings.load_profile("wallet")
