"""The tools: the dev stack, the operator's `wallet` command, load and house rules."""
