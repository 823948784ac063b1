"""RPyC: an exposed function of a service."""

import multiprocessing
import time

import rpyc
from base import latencies, null, serve
from rpyc.utils.server import ThreadedServer


class Service(rpyc.Service):
    def exposed_null(self):
        return null()


def server(port):
    serving = ThreadedServer(Service, hostname="127.0.0.1", port=0)
    port.send(serving.port)
    serving.start()


def connect(port):
    """The server tells its port before it listens."""
    end = time.monotonic() + 30
    while True:
        try:
            return rpyc.connect("127.0.0.1", port)
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)


def main():
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    spawn.Process(target=server, args=(theirs,), daemon=True).start()
    connection = connect(ours.recv())
    serve(null=lambda count: latencies(lambda: connection.root.null(), count))


if __name__ == "__main__":
    main()
