"""A mean that forgets: exponentially weighted, with a spread, in constant memory."""

from __future__ import annotations

import math

#: Seconds; shorter times are noise of the clock, and their logarithms would rule a fit.
FLOOR = 1e-7


class Running:
    """Streaming mean and deviation of one quantity; recent values weigh more.

    The first values are averaged plainly (the weight of a new one is 1/n), so that the start is not biased to
    the very first value; from then on it weighs `alpha`.
    """

    __slots__ = ("alpha", "count", "mean", "variance")

    def __init__(self, alpha: float = 0.2) -> None:
        self.alpha = alpha
        self.count = 0
        self.mean = 0.0
        self.variance = 0.0

    def add(self, value: float) -> None:
        """Take one more value. One that is not finite is left out: it would poison the mean for ever."""
        if not math.isfinite(value):
            return
        self.count += 1
        weight = max(self.alpha, 1.0 / self.count)
        step = value - self.mean
        self.mean += weight * step
        self.variance = (1.0 - weight) * (self.variance + weight * step * step)

    @property
    def deviation(self) -> float:
        """Standard deviation, same unit as the values; 0.0 until there are two."""
        return math.sqrt(self.variance)

    def __repr__(self) -> str:
        return f"Running({self.mean:.6g} ± {self.deviation:.2g}, n={self.count})"
