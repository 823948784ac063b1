"""What every contender shares: it is a program of its own that does one turn of work for each line that it is sent.

The first line that a contender prints says that it is ready, as ``{"ready": [what it can do]}``. Then each line in is
``[name, argument]…`` as JSON, and each line out the result, or ``{"error": text}``. A contender needs nothing but the
library that it shows, and runs under the interpreter of its environment.
"""

import json
import os
import sys
import time


def latencies(call, count):
    """Seconds of each of so many calls, one after the other."""
    clock = time.perf_counter
    times = []
    for _ in range(count):
        start = clock()
        call()
        times.append(clock() - start)
    return times


def seconds(run):
    """Seconds that it takes to run."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def spin(duration):
    """A task that computes for so many seconds of CPU time."""
    end = time.thread_time() + duration
    while time.thread_time() < end:
        pass


def serve(**turns):
    """Do turns until the input ends; each is a function of one argument."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else is printed is no result
    say(out, {"ready": sorted(turns)})
    for line in sys.stdin:
        name, argument = json.loads(line)
        try:
            result = turns[name](argument)
        except Exception as error:
            result = {"error": f"{type(error).__name__}: {error}"}
        say(out, result)


def say(out, message):
    out.write(json.dumps(message) + "\n")
    out.flush()
