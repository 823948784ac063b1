"""The picture, row by row: spirals in the valley between the big heart and the disc beside it."""

import math

from mandelbrot.palette import ring

CENTRE = complex(-0.77468281, -0.13741539)
SPAN = 3.0e-5
"""The width of the picture in the plane."""
NEAREST = 26.0
"""The shortest way out that is seen in the picture, in steps. The colours start there."""
FINER = 2
"""Each pixel is the mean of so many points across and so many down."""
COLOURS = 1024
RING = ring(COLOURS)
FAR = 1024.0
"""A point this far out, squared, never comes back. Four would do; more makes the colours smooth."""


def escape(a: float, b: float, iterations: int) -> float:
    """How long the point a + bi takes to leave, in fractions of a step; -1.0 if it stays."""
    x = y = 0.0
    for step in range(iterations):
        xx = x * x
        yy = y * y
        if xx + yy > FAR:
            return step - math.log2(math.log2(xx + yy))
        y = 2.0 * x * y + b
        x = xx - yy + a
    return -1.0


def place(length: float) -> int:
    """Where on the ring the colour is. Long ways pass the colours more slowly: else deep parts are noise."""
    return int(COLOURS * 0.38 * math.log2(1.0 + max(0.0, length - NEAREST) / 12.0)) % COLOURS


def row(y: int, width: int, height: int, iterations: int) -> bytes:
    """One line of the picture, from the left: red, green, blue of each pixel, one byte each."""
    step = SPAN / (width * FINER)
    left = CENTRE.real - (width * FINER - 1) * step / 2.0
    top = CENTRE.imag + (height * FINER - 1) * step / 2.0
    points = FINER * FINER
    line = bytearray()
    for x in range(width):
        red = green = blue = points // 2
        for j in range(FINER):
            b = top - (y * FINER + j) * step
            for i in range(FINER):
                length = escape(left + (x * FINER + i) * step, b, iterations)
                if length >= 0.0:
                    start = 3 * place(length)
                    red += RING[start]
                    green += RING[start + 1]
                    blue += RING[start + 2]
        line += bytes((red // points, green // points, blue // points))
    return bytes(line)


def render(width: int, height: int, iterations: int) -> list[bytes]:
    """The whole picture, from the top."""
    return [row(y, width, height, iterations) for y in range(height)]
