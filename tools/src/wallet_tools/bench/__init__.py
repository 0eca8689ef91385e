"""This module is where `tools/dev bench` lives: the service measured beside pgbench, in one run."""
