"""This module is where dead letters are looked at, replayed and thrown away by operators."""
