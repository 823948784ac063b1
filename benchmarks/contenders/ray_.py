"""Ray: tasks on a cluster of this machine. It probes a public address when it starts, so it gets a network of its own."""

import os

os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_TOKEN="0" * 32, RAY_DEDUP_LOGS="0")

import time

import numpy as np
import ray
from base import WORKERS, add_one, latencies, null, seconds, serve, work


@ray.remote
class Arrays:
    """Looks at an array, or gives one."""

    def __init__(self, count):
        self.values = np.random.default_rng(1).random(count)

    def there(self, values):
        return look(values)

    def back(self):
        return self.values


def look(values):
    """One number on each page."""
    return float(values[::512].sum())


class Trips:
    """An array of so many MiB there, or back."""

    def __init__(self):
        self.mib = None

    def prepare(self, mib):
        if self.mib != mib:
            self.mib = mib
            self.mine = np.random.default_rng(0).random(mib << 17)
            self.actor = Arrays.remote(self.mine.size)

    def there(self, mib):
        self.prepare(mib)
        start = time.perf_counter()
        ray.get(self.actor.there.remote(self.mine))
        return time.perf_counter() - start

    def back(self, mib):
        self.prepare(mib)
        start = time.perf_counter()
        look(ray.get(self.actor.back.remote()))
        return time.perf_counter() - start


def main():
    ray.init(
        num_cpus=WORKERS,
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
        log_to_driver=False,
        configure_logging=False,
        object_store_memory=400 << 20,
    )
    trips = Trips()
    run_null, run_add, run_work = map(ray.remote, (null, add_one, work))
    serve(
        null=lambda count: latencies(lambda: ray.get(run_null.remote()), count),
        tasks=lambda count: seconds(lambda: ray.get([run_add.remote(x) for x in range(count)]), count),
        bag=lambda what: seconds(
            lambda: ray.get([run_work.remote(what[1]) for _ in range(what[0])]), what[0]
        ),
        there=trips.there,
        back=trips.back,
    )
    ray.shutdown()


if __name__ == "__main__":
    main()
