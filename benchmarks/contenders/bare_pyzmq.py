"""pyzmq and nothing else: DEALER and ROUTER over tcp between two processes, a pickle each way. ``curve`` encrypts."""

import multiprocessing
import pickle
import sys

import zmq
from base import latencies, null, serve


def server(port, keys):
    sock = zmq.Context().socket(zmq.ROUTER)
    if keys is not None:
        sock.curve_server = True
        sock.curve_publickey, sock.curve_secretkey = keys
    port.send(sock.bind_to_random_port("tcp://127.0.0.1"))
    functions = {"null": null}
    while True:
        route, body = sock.recv_multipart()
        name, args, kwargs = pickle.loads(body)
        sock.send_multipart([route, pickle.dumps(functions[name](*args, **kwargs), 5)])


def main():
    keys = zmq.curve_keypair() if "curve" in sys.argv else None
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    spawn.Process(target=server, args=(theirs, keys), daemon=True).start()
    sock = zmq.Context().socket(zmq.DEALER)
    if keys is not None:
        sock.curve_serverkey = keys[0]
        sock.curve_publickey, sock.curve_secretkey = zmq.curve_keypair()
    sock.connect(f"tcp://127.0.0.1:{ours.recv()}")

    def call():
        sock.send(pickle.dumps(("null", (), {}), 5))
        return pickle.loads(sock.recv())

    serve(null=lambda count: latencies(call, count))


if __name__ == "__main__":
    main()
