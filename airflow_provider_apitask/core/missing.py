"""What a path finds where there is nothing."""

from __future__ import annotations

from typing import Final

__all__ = ["MISSING"]


class _Missing:
    def __repr__(self) -> str:
        return "<nothing>"

    def __bool__(self) -> bool:
        return False


#: What a path finds where the document has nothing; not None, which a document can hold.
MISSING: Final = _Missing()
