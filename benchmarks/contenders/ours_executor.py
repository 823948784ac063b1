"""`bundlebee.Executor` with two workers of its own; no grid."""

from base import WORKERS, latencies, mapped, null, serve, submitted

from bundlebee import Executor


def main():
    with Executor(WORKERS) as executor:
        serve(
            null=lambda count: latencies(lambda: executor.submit(null).result(), count),
            submit=submitted(executor.submit),
            submit_lambda=submitted(executor.submit, lambda x: x + 1),
            **mapped(executor.map),
        )


if __name__ == "__main__":
    main()
