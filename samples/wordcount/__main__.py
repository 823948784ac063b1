"""``python -m wordcount [--n PAGES] [--top N]``"""

import argparse
from importlib.resources import files

from wordcount.count import pages_of, words_in


def main() -> None:
    parser = argparse.ArgumentParser(prog="wordcount", description="Count the words of a book.")
    parser.add_argument("--n", type=int, default=10_000, help="pages (default: %(default)s)")
    parser.add_argument("--top", type=int, default=10, help="words to show (default: %(default)s)")
    options = parser.parse_args()

    text = files("wordcount").joinpath("text.txt").read_text(encoding="utf-8")
    counts = words_in(pages_of(text, options.n))
    print(f"{sum(counts.values())} words, {len(counts)} different ones, on {options.n} pages")
    for word, times in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[: options.top]:
        print(f"{times:8} {word}")


if __name__ == "__main__":
    main()
