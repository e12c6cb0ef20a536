"""Why a photo could not be fetched."""

from __future__ import annotations

from tgqformer.catalog.quarantine import shown
from tgqformer.errors import ImageError

NO_ANSWER = "no answer"
NO_HOST = "host not known"
UNANSWERED = (NO_ANSWER, NO_HOST)
"""The rules of faults that a broken line gives for every photo."""


class FetchError(ImageError):
    """A photo could not be fetched.

    Attributes:
        rule: the kind of fault in a few words, the same for every photo; what a summary counts.
        passing: another try may succeed.
        wait: seconds that the server asks to wait before another try, None where it does not.
    """

    def __init__(
        self,
        url: str,
        rule: str,
        reason: str,
        *,
        passing: bool = False,
        wait: float | None = None,
    ) -> None:
        super().__init__(f"{shown(url, 120)} gave no photo: {reason}.")
        self.rule = rule
        self.reason = reason
        self.passing = passing
        self.wait = wait
