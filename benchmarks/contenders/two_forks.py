"""No queue: two forked processes that split the list. What a bag of tasks is measured by."""

import os

from base import WORKERS, seconds, serve, work


def split(what):
    count, loops = what
    share = -(-count // WORKERS)
    children = []
    for number in range(WORKERS):
        pid = os.fork()
        if not pid:
            for _ in range(min(share, count - number * share)):
                work(loops)
            os._exit(0)
        children.append(pid)
    if any(os.waitpid(pid, 0)[1] for pid in children):
        raise RuntimeError("a fork has failed")
    return range(count)


serve(bag=lambda what: seconds(lambda: split(what), what[0]))
