"""Pages, and the words on them."""

import random


def pages_of(text: str, n: int) -> list[str]:
    """A book of `n` pages: paragraphs of a text, drawn anew for each page."""
    paragraphs = [paragraph for paragraph in text.split("\n\n") if paragraph.strip()]
    dice = random.Random(1865)
    return ["\n\n".join(dice.choices(paragraphs, k=len(paragraphs))) for _ in range(n)]


def words_on(page: str) -> dict[str, int]:
    """Each word of a page in small letters, and how often it is there. Hyphens inside a word belong to it."""
    counts: dict[str, int] = {}
    word = ""
    for letter in page.lower() + " ":
        if letter.isalpha() or (letter == "-" and word):
            word += letter
        elif word:
            word = word.rstrip("-")
            counts[word] = counts.get(word, 0) + 1
            word = ""
    return counts


def words_in(pages: list[str]) -> dict[str, int]:
    """The words of all pages."""
    counts: dict[str, int] = {}
    for page in [words_on(page) for page in pages]:
        for word, times in page.items():
            counts[word] = counts.get(word, 0) + times
    return counts
