"""How often something may happen."""

from __future__ import annotations

__all__ = ["Buckets"]

#: How many are known at once; the one that was used least lately is forgotten.
_KNOWN = 10_000


class Buckets:
    """A token bucket for each name.

    :param burst: how often it may happen at once.
    :param per_second: how often in the long run.
    """

    def __init__(self, *, burst: int, per_second: float) -> None:
        self._burst = burst
        self._per_second = per_second
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, name: str, now: float) -> bool:
        """Whether it may happen once more.

        :param now: seconds of a monotonic clock: a wall clock that steps would refill the bucket.
        """
        left, at = self._left.pop(name, (float(self._burst), now))
        left = min(float(self._burst), left + (now - at) * self._per_second)
        self._left[name] = (left - 1 if left >= 1 else left, now)
        if len(self._left) > _KNOWN:
            del self._left[next(iter(self._left))]
        return left >= 1
