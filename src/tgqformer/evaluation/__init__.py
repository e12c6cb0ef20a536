"""Judging anything that encodes items: ranks in the full pool, figures, intervals, reports."""
