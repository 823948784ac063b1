"""The colours: a closed ring, so that it can be walked for ever without a seam."""

from itertools import pairwise

STOPS = (
    (0.0, (0, 7, 60)),
    (0.16, (22, 85, 190)),
    (0.42, (237, 255, 250)),
    (0.6425, (255, 174, 28)),
    (0.8575, (92, 16, 42)),
    (1.0, (0, 7, 60)),
)
"""Places on the ring, each with its red, green and blue, 0 to 255."""


def ring(size: int) -> bytes:
    """The colours at `size` equal steps around the ring: red, green, blue, red, green, blue, ..."""
    return b"".join(colour_at(step / size) for step in range(size))


def colour_at(place: float) -> bytes:
    """The colour at a place from 0 up to 1, on a smooth curve between the stops."""
    for (start, low), (end, high) in pairwise(STOPS):
        if place <= end:
            part = (place - start) / (end - start)
            part = part * part * (3.0 - 2.0 * part)
            return bytes(round(a + (b - a) * part) for a, b in zip(low, high, strict=True))
    return bytes(STOPS[-1][1])
