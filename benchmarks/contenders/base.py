"""What all contenders share: a contender is a program of its own that does one turn of work for each line it is sent.

The first line that it prints says that it is ready: ``{"ready": [the names of its turns]}``. Then each line in is
``[name, argument]`` as JSON, and each line out the result, or ``{"error": text}``. It needs nothing but the library that
it shows, and runs under the interpreter of its own environment.

Turns:  ``null`` (a count → seconds of each of so many calls that do nothing, one after the other) · ``tasks`` (a count →
seconds for so many tiny tasks at once) · ``submit`` (the same, submitted one by one) · ``bag`` (``[count, loops]`` →
seconds for so many tasks of so many loops)
"""

import json
import os
import sys
import time

WORKERS = 2


def null():
    """What a null call calls."""


def add_one(x):
    """A tiny task."""
    return x + 1


def work(loops):
    """A task that computes."""
    total = 0
    for i in range(loops):
        total += i & 7
    return total


def latencies(call, count):
    """Seconds of each of so many calls, one after the other."""
    clock = time.perf_counter
    times = []
    for _ in range(count):
        start = clock()
        call()
        times.append(clock() - start)
    return times


def seconds(run, expected):
    """Seconds that it takes to give so many results."""
    start = time.perf_counter()
    count = sum(1 for _ in run())
    taken = time.perf_counter() - start
    if count != expected:
        raise ValueError(f"{count} results instead of {expected}")
    return taken


def mapped(mapper):
    """The turns of something like ``Pool.imap``: called with a function and arguments, it gives the results in order."""
    return {
        "tasks": lambda count: seconds(lambda: mapper(add_one, range(count)), count),
        "bag": lambda what: seconds(lambda: mapper(work, [what[1]] * what[0]), what[0]),
    }


def submitted(submit, function=add_one):
    """The turn ``submit`` of an executor."""

    def run(count):
        ends = [submit(function, number) for number in range(count)]
        return (end.result() for end in ends)

    return lambda count: seconds(lambda: run(count), count)


def serve(**turns):
    """Do turns until the input ends."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else is printed is no result

    def say(message):
        out.write(json.dumps(message) + "\n")
        out.flush()

    say({"ready": sorted(turns)})
    for line in sys.stdin:
        name, argument = json.loads(line)
        try:
            result = turns[name](argument)
        except Exception as error:
            result = {"error": f"{type(error).__name__}: {error}"}
        say(result)
