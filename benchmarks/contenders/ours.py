"""bundlebee: an ordinary program under `bundlebee exec --policy remote`, with a node of two workers on this machine."""

import sys


def null():
    """As in `base`; here it is woven."""


def add_one(x):
    return x + 1


def work(loops):
    total = 0
    for i in range(loops):
        total += i & 7
    return total


def add_to_all(count):
    return [add_one(x) for x in range(count)]


def work_all(count, loops):
    return [work(each) for each in [loops] * count]


def main():
    sys.path.insert(0, __file__.rpartition("/")[0])
    import base

    base.serve(
        null=lambda count: base.latencies(null, count),
        tasks=lambda count: base.seconds(lambda: add_to_all(count), count),
        bag=lambda what: base.seconds(lambda: work_all(*what), what[0]),
    )


if __name__ == "__main__":
    main()
