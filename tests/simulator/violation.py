"""What a run may find."""

from __future__ import annotations


class Violation(BaseException):
    """An invariant does not hold."""

    def __init__(self, invariant: str, text: str) -> None:
        super().__init__(f"{invariant}: {text}")
        self.invariant = invariant
