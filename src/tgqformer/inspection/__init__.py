"""Seeing why: where the queries look, what the gates say, and what in a catalog looks wrong."""
