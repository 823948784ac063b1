"""bundlebee: a program under `bundlebee exec --policy remote`, with a node of two workers beside it."""

import sys


def null():
    return None


def main():
    sys.path.insert(0, __file__.rpartition("/")[0])
    import os

    from base import latencies, serve

    if os.environ.get("PROF"):
        import cProfile

        p = cProfile.Profile()
        latencies(null, 100)
        p.enable()
        latencies(null, 3000)
        p.disable()
        import pstats

        pstats.Stats(p, stream=sys.stderr).sort_stats("tottime").print_stats(45)
    serve(null=lambda count: latencies(null, count))


if __name__ == "__main__":
    main()
