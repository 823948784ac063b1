"""Draws a part of the Mandelbrot set: ``python -m mandelbrot --out picture.png``."""

__version__ = "1.0"
