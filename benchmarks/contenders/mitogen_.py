"""Mitogen: a call in a child process."""

import sys

import mitogen.master
from base import latencies, null, serve


def main():
    broker = mitogen.master.Broker()
    try:
        context = mitogen.master.Router(broker).local(python_path=sys.executable)
        serve(null=lambda count: latencies(lambda: context.call(null), count))
    finally:
        broker.shutdown()


if __name__ == "__main__":
    main()
