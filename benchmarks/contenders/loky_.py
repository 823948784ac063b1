"""loky's reusable executor."""

import loky
from base import WORKERS, latencies, mapped, null, serve


def main():
    pool = loky.get_reusable_executor(WORKERS, timeout=3600)
    serve(null=lambda count: latencies(lambda: pool.submit(null).result(), count), **mapped(pool.map))
    pool.shutdown()


if __name__ == "__main__":
    main()
