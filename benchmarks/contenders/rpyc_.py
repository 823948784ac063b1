"""RPyC: an exposed function of a service."""

import multiprocessing

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


def main():
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    spawn.Process(target=server, args=(theirs,), daemon=True).start()
    connection = rpyc.connect("127.0.0.1", ours.recv())
    serve(null=lambda count: latencies(lambda: connection.root.null(), count))


if __name__ == "__main__":
    main()
