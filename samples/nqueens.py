"""In how many ways do n queens stand on a board in peace? ``python -m nqueens --n 13``"""

import argparse


def ways(n: int, columns: int, rising: int, falling: int) -> int:
    """How often the rows that are left can be filled. Bits are columns that queens above take or attack."""
    full = (1 << n) - 1
    if columns == full:
        return 1
    count = 0
    free = full & ~(columns | rising | falling)
    while free:
        queen = free & -free
        free ^= queen
        count += ways(n, columns | queen, (rising | queen) << 1, (falling | queen) >> 1)
    return count


def ways_from(n: int, first: int, second: int) -> int:
    """How many ways begin with queens in these columns of the first two rows."""
    if abs(first - second) < 2:
        return 0
    a, b = 1 << first, 1 << second
    return ways(n, a | b, (a << 1 | b) << 1, (a >> 1 | b) >> 1)


def count(n: int) -> int:
    """In how many ways `n` queens stand on `n` × `n` squares, none attacking another."""
    if n < 2:
        return 1
    return sum(ways_from(n, first, second) for first in range(n) for second in range(n))


def example(n: int, queens: tuple[int, ...] = ()) -> tuple[int, ...] | None:
    """The first way in order of columns, or None where there is none."""
    if len(queens) == n:
        return queens
    for column in range(n):
        if all(column != c and abs(column - c) != len(queens) - r for r, c in enumerate(queens)):
            found = example(n, (*queens, column))
            if found is not None:
                return found
    return None


def main() -> None:
    parser = argparse.ArgumentParser(prog="nqueens", description="Put queens on a board.")
    parser.add_argument("--n", type=int, default=13, help="queens, and squares a side (default: %(default)s)")
    options = parser.parse_args()
    if options.n < 1:
        parser.error("there must be a queen")

    queens = example(options.n)
    for queen in queens or ():
        print(*("Q" if column == queen else "." for column in range(options.n)))
    print(f"{options.n} queens: {count(options.n)} ways")


if __name__ == "__main__":
    main()
