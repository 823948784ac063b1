"""Keeps a diary in a file, behind a socket, with a thread that writes: ``python -m diary --n 7``.

The program is the reader's side and the keeper's at once; it leaves no file, thread or socket behind.
"""

import argparse
import socket
import tempfile
import threading
from pathlib import Path
from typing import TextIO

SECONDS = 10.0
"""The longest that one side waits for the other."""
WEATHER = ("sun", "clouds", "rain", "wind", "snow")


def entry(day: int) -> str:
    """What there is to say about a day."""
    return f"day {day}: {WEATHER[day * day % len(WEATHER)]}, {10 + day * 7 % 15} degrees"


def keep(server: socket.socket, book: Path) -> None:
    """Let one visitor in, write each line that comes into the book, and answer with its number."""
    connection, _ = server.accept()
    connection.settimeout(SECONDS)
    with connection, connection.makefile("rw", encoding="utf-8", newline="\n") as visitor:
        for number, line in enumerate(iter(visitor.readline, ""), 1):
            with book.open("a", encoding="utf-8") as file:
                file.write(line)
            visitor.write(f"{number}\n")
            visitor.flush()


def tell(visitor: TextIO, text: str) -> int:
    """Have one line written; the answer is its number in the book."""
    visitor.write(text + "\n")
    visitor.flush()
    return int(visitor.readline())


def write_down(entries: list[str], book: Path) -> list[int]:
    """Have the entries written into the book, and return the numbers of their lines."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(SECONDS)
        keeper = threading.Thread(target=keep, args=(server, book), name="keeper", daemon=True)
        keeper.start()
        with (
            socket.create_connection(server.getsockname(), SECONDS) as connection,
            connection.makefile("rw", encoding="utf-8", newline="\n") as visitor,
        ):
            numbers = [tell(visitor, text) for text in entries]
        keeper.join(SECONDS)
    return numbers


def main() -> None:
    parser = argparse.ArgumentParser(prog="diary", description="Keep a diary.")
    parser.add_argument("--n", type=int, default=7, help="days (default: %(default)s)")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="diary-") as directory:
        book = Path(directory) / "diary.txt"
        book.touch()
        numbers = write_down([entry(day) for day in range(1, options.n + 1)], book)
        print(book.read_text(encoding="utf-8"), end="")
    print(f"{len(numbers)} entries, the last one is number {max(numbers, default=0)}")


if __name__ == "__main__":
    main()
