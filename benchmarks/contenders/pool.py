"""`multiprocessing.Pool`."""

import multiprocessing

from base import WORKERS, latencies, mapped, null, serve


def main():
    with multiprocessing.Pool(WORKERS) as pool:
        serve(null=lambda count: latencies(lambda: pool.apply(null), count), **mapped(pool.imap))


if __name__ == "__main__":
    main()
