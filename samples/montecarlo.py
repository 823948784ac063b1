"""Pi by throwing darts: ``python -m montecarlo --n 400``."""

import argparse
import math
import random
import statistics

DARTS = 50_000
"""In one round."""


def play(seed: int) -> float:
    """Pi as one round of darts has it: four times the share inside the quarter of a circle."""
    dice = random.Random(seed)
    hits = 0
    for _ in range(DARTS):
        x = dice.random()
        y = dice.random()
        if x * x + y * y <= 1.0:
            hits += 1
    return 4.0 * hits / DARTS


def main() -> None:
    parser = argparse.ArgumentParser(prog="montecarlo", description="Throw darts to learn pi.")
    parser.add_argument("--n", type=int, default=400, help="rounds (default: %(default)s)")
    options = parser.parse_args()
    if options.n < 2:
        parser.error("play two rounds at least")

    rounds = list(map(play, range(options.n)))
    mean = math.fsum(rounds) / len(rounds)
    error = statistics.stdev(rounds) / math.sqrt(len(rounds))
    print(f"{options.n} rounds of {DARTS} darts")
    print(f"worst round {max(rounds, key=lambda pi: abs(pi - math.pi)):.5f}")
    print(f"pi is {mean:.6f}, give or take {error:.6f}")


if __name__ == "__main__":
    main()
