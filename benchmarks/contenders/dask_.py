"""Dask: tasks on a cluster of this machine."""

from base import WORKERS, latencies, mapped, null, serve
from distributed import Client, LocalCluster


def main():
    with (
        LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
        ) as cluster,
        Client(cluster) as client,
    ):
        serve(
            null=lambda count: latencies(lambda: client.submit(null, pure=False).result(), count),
            **mapped(lambda function, values: client.gather(client.map(function, values, pure=False))),
        )


if __name__ == "__main__":
    main()
