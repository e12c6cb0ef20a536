"""What in a catalog looks wrong, ranked, and as a page for whoever keeps it."""

from tgqformer.inspection.audit.audit import (
    Audit,
    Correction,
    audit,
    check_folder,
    correct_catalog,
    corrections,
)
from tgqformer.inspection.audit.page import write_audit

__all__ = [
    "Audit",
    "Correction",
    "audit",
    "check_folder",
    "correct_catalog",
    "corrections",
    "write_audit",
]
