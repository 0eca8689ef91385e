"""This package is where the house rules that linters cannot see are checked."""
