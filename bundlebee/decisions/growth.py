"""How run time grows with the sizes of the arguments, from a few samples: a small, robust regression.

The logarithm of the time is explained by the features, each either as it is (`fib(n)` grows exponentially in
a small n) or by its logarithm (a sum is linear, a sort a little more, a matrix product cubic in its size). A
greedy search picks, one after the other, the feature and the form that explain most of what is left, and
stops when little is gained. Three terms are enough for real functions; a fit to sixty samples takes less than
a millisecond, and is done only when a quarter more of them are there.

A proper multiple regression was set aside: with correlated sizes (rows and columns of one matrix) its
coefficients run away in opposite directions, and then extrapolation is worthless.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from bundlebee.decisions.running import FLOOR

MAX_TERMS = 3
MIN_GAIN = 0.2  #: a further term must explain this share of what is left, or it explains noise
EXPONENTIAL_UP_TO = 256.0  #: greater numbers stand in no exponent: nobody runs 2**256 steps
MAX_EXTRAPOLATION = math.log(1000.0)  #: how far beyond the samples a prediction may go


class Term(msgspec.Struct, frozen=True):
    """One summand: `slope` × form(sizes[index]) + `offset`."""

    index: int
    logarithmic: bool
    slope: float
    offset: float

    def __call__(self, sizes: Sequence[float]) -> float:
        return self.slope * _form(sizes[self.index], self.logarithmic) + self.offset


class Growth(msgspec.Struct, frozen=True):
    """A fitted model. `predict` takes sizes of the length that it was fitted with."""

    base: float  #: mean logarithm of the times
    terms: tuple[Term, ...]
    residual: float  #: standard deviation of the logarithm that is left unexplained
    lowest: float  #: least and greatest logarithm seen
    highest: float
    samples: int

    def predict(self, sizes: Sequence[float]) -> float:
        """Seconds for these sizes; never more than a thousandfold outside of what was seen."""
        value = self.base + sum(term(sizes) for term in self.terms)
        value = min(max(value, self.lowest - MAX_EXTRAPOLATION), self.highest + MAX_EXTRAPOLATION)
        return math.exp(value)

    def distance(self, sizes: Sequence[float]) -> float:
        """How far (in logarithms of time) the prediction lies outside of what was seen; 0.0 inside."""
        value = math.log(self.predict(sizes))
        return max(0.0, self.lowest - value, value - self.highest)


def fit(points: Sequence[tuple[Sequence[float], float]]) -> Growth:
    """Fit a model to (sizes, seconds) pairs; all vectors of one length, at least one pair."""
    logs = [math.log(max(seconds, FLOOR)) for _, seconds in points]
    count = len(logs)
    base = sum(logs) / count
    rest = [value - base for value in logs]
    terms: list[Term] = []
    width = len(points[0][0])
    while len(terms) < MAX_TERMS and count >= 3 + 2 * len(terms):
        found = _best_term(points, rest, width)
        if found is None:
            break
        terms.append(found)
        rest = [value - found(sizes) for value, (sizes, _) in zip(rest, points, strict=True)]
    residual = math.sqrt(sum(value * value for value in rest) / count)
    return Growth(base, tuple(terms), residual, min(logs), max(logs), count)


def _best_term(points: Sequence[tuple[Sequence[float], float]], rest: list[float], width: int) -> Term | None:
    """The term that leaves least unexplained, or None where no term gains enough."""
    count = len(rest)
    mean_rest = sum(rest) / count
    total = sum((value - mean_rest) ** 2 for value in rest)
    if total <= 1e-9 * count:
        return None
    best: Term | None = None
    best_gain = MIN_GAIN * total
    for index in range(width):
        column = [sizes[index] for sizes, _ in points]
        for logarithmic in (True, False):
            if not logarithmic and max(map(abs, column)) > EXPONENTIAL_UP_TO:
                continue
            xs = [_form(value, logarithmic) for value in column]
            mean = sum(xs) / count
            variance = sum((x - mean) ** 2 for x in xs)
            if variance <= 1e-12:
                continue
            covariance = sum((x - mean) * (value - mean_rest) for x, value in zip(xs, rest, strict=True))
            gain = covariance * covariance / variance
            if gain > best_gain:
                slope = covariance / variance
                best_gain = gain
                best = Term(index, logarithmic, slope, mean_rest - slope * mean)
    return best


def _form(value: float, logarithmic: bool) -> float:
    if not logarithmic:
        return value
    return math.copysign(math.log1p(abs(value)), value)
