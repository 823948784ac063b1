"""Ray: tasks on a cluster of this machine. It probes a public address when it starts, so it gets a network of its own."""

import os

os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_TOKEN="0" * 32, RAY_DEDUP_LOGS="0")

import ray
from base import WORKERS, add_one, latencies, null, seconds, serve, work


def main():
    ray.init(
        num_cpus=WORKERS,
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
        log_to_driver=False,
        configure_logging=False,
        object_store_memory=200 << 20,
    )
    run_null, run_add, run_work = map(ray.remote, (null, add_one, work))
    serve(
        null=lambda count: latencies(lambda: ray.get(run_null.remote()), count),
        tasks=lambda count: seconds(lambda: ray.get([run_add.remote(x) for x in range(count)]), count),
        bag=lambda what: seconds(
            lambda: ray.get([run_work.remote(what[1]) for _ in range(what[0])]), what[0]
        ),
    )
    ray.shutdown()


if __name__ == "__main__":
    main()
