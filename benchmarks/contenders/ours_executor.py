"""`bundlebee.Executor` with two workers of its own; no grid."""

from base import WORKERS, latencies, mapped, null, serve

from bundlebee import Executor


def main():
    with Executor(WORKERS) as executor:
        serve(
            null=lambda count: latencies(lambda: executor.submit(null).result(), count),
            **mapped(executor.map),
        )


if __name__ == "__main__":
    main()
