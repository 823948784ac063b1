"""Pyro5 with its default serializer."""

import multiprocessing

import Pyro5.api
from base import latencies, null, serve


@Pyro5.api.expose
class Remote:
    def null(self):
        return null()


def server(address):
    with Pyro5.api.Daemon(host="127.0.0.1") as daemon:
        address.send(str(daemon.register(Remote)))
        daemon.requestLoop()


def main():
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    spawn.Process(target=server, args=(theirs,), daemon=True).start()
    with Pyro5.api.Proxy(ours.recv()) as remote:
        serve(null=lambda count: latencies(remote.null, count))


if __name__ == "__main__":
    main()
