"""`concurrent.futures.ProcessPoolExecutor`."""

from concurrent.futures import ProcessPoolExecutor

from base import WORKERS, latencies, mapped, null, serve, submitted


def main():
    with ProcessPoolExecutor(WORKERS) as pool:
        serve(
            null=lambda count: latencies(lambda: pool.submit(null).result(), count),
            submit=submitted(pool.submit),
            **mapped(pool.map),
        )


if __name__ == "__main__":
    main()
