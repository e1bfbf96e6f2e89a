"""What reaches the server's port that is no Reverb client."""

import contextlib
import socket
import time

import numpy as np
import pytest
import tiny_run
from test_writer_and_feed import rewards
from tiny_replay import DEADLINE, item, serve

from idql_tf.replay.feed import Feed
from idql_tf.replay.library import reverb
from idql_tf.replay.writer import TransitionWriter

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
RNG = np.random.default_rng(0)
MESSAGES = (
    b"",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST /deepmind.reverb.ReverbService/Reset HTTP/1.1\r\nContent-Length: 9\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + RNG.bytes(64),
    PREFACE,
    PREFACE + RNG.bytes(2_000),
    # Frames of gRPC's protocol: settings that are none, a huge header, a flood.
    PREFACE + b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\xff\xff\xff\xff",
    PREFACE + b"\xff\xff\xff\x01\x04\x00\x00\x00\x01" + RNG.bytes(500),
    PREFACE + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" * 5_000,
    RNG.bytes(100_000),
)


@pytest.fixture
def server(unused_port):
    """A server in a process of its own, and the process."""
    ours, theirs = tiny_run.WARM.Pipe()
    process = tiny_run.WARM.Process(target=serve, args=(theirs, unused_port, None))
    process.start()
    assert ours.recv() == "up"
    yield unused_port, process
    ours.send("end")
    process.join(30)
    assert process.exitcode == 0


def check_serves(port, first):
    client = reverb.Client(f"localhost:{port}")
    writer, feed = TransitionWriter(client, DEADLINE), Feed(client, DEADLINE)
    for number in range(first, first + 5):
        writer.write(item(number))
    writer.flush()
    taken = []
    while len(taken) < 5:
        taken += feed.wait()
    assert rewards(taken) == [100 * n for n in range(first, first + 5)]


@pytest.mark.slow
def test_a_server_outlives_what_is_no_client(server):
    port, process = server
    check_serves(port, 0)
    with contextlib.ExitStack() as opened:
        for k in range(100):
            one = opened.enter_context(socket.create_connection(("localhost", port)))
            with contextlib.suppress(OSError):  # It may hang up before all is sent.
                one.sendall(MESSAGES[k % len(MESSAGES)])
            if k % 3 == 0:
                one.close()
            elif k % 3 == 1:
                one.shutdown(socket.SHUT_WR)  # Half open; the others stay silent.
        check_serves(port, 5)
    assert process.is_alive()


@pytest.mark.slow
def test_a_thousand_connections(server):
    port, process = server
    with contextlib.ExitStack() as opened:
        for _ in range(1_000):
            opened.enter_context(socket.create_connection(("localhost", port), 10))
        began = time.monotonic()
        check_serves(port, 0)
        assert time.monotonic() - began < 20
    check_serves(port, 5)
    assert process.is_alive()
