"""Looks for primes below a number: ``python -m primes --n 1500000``."""

import argparse
from itertools import pairwise

BLOCK = 10_000


def is_prime(number: int) -> bool:
    """By trial division: 2, 3, then all that is one beside a multiple of six."""
    if number < 4:
        return number > 1
    if number % 2 == 0 or number % 3 == 0:
        return False
    divisor = 5
    while divisor * divisor <= number:
        if number % divisor == 0 or number % (divisor + 2) == 0:
            return False
        divisor += 6
    return True


def primes_between(low: int, high: int) -> list[int]:
    """All primes from `low` up to, but not including, `high`."""
    return [number for number in range(low, high) if is_prime(number)]


def primes_below(n: int) -> list[int]:
    """All primes below `n`, in order."""
    blocks = [primes_between(low, min(low + BLOCK, n)) for low in range(0, n, BLOCK)]
    return [prime for block in blocks for prime in block]


def main() -> None:
    parser = argparse.ArgumentParser(prog="primes", description="Look for primes.")
    parser.add_argument("--n", type=int, default=1_500_000, help="primes below this (default: %(default)s)")
    options = parser.parse_args()

    primes = primes_below(options.n)
    print(f"{len(primes)} primes below {options.n}")
    if primes:
        print("the last ones:", *primes[-5:])
    if len(primes) > 1:
        gap, after = max((high - low, -low) for low, high in pairwise(primes))
        print(f"the widest gap: {gap}, after {-after}")
        twins = sum(high - low == 2 for low, high in pairwise(primes))
        print(f"pairs of twins: {twins}")


if __name__ == "__main__":
    main()
