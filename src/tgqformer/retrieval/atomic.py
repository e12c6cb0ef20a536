"""Moved to `tgqformer.files`; stays until nothing under way imports it from here."""

from tgqformer.files import atomic_path, write_text

__all__ = ["atomic_path", "write_text"]
