"""Counts the words of a book: ``python -m wordcount``."""

__version__ = "1.0"
