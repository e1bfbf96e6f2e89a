"""The Reverb server: where it listens, where it saves, what it tells."""

from __future__ import annotations

import contextlib
import os
import pathlib
import socket
import stat
from collections.abc import Iterator, Sequence

from idql_tf.errors import UserError
from idql_tf.quiet import filtered_stderr
from idql_tf.replay.library import reverb

INFO_DEADLINE_SECONDS = 5


@contextlib.contextmanager
def serve(
    tables: Sequence[reverb.Table],
    port: int | None = None,
    folder: pathlib.Path | None = None,
    everywhere: bool = False,
) -> Iterator[reverb.Server]:
    """Runs a server for as long as the context lasts.

    Args:
      tables: what it holds.
      port: where it listens; None takes a free one.
      folder: of its checkpoints and of nothing else; it loads the newest; None keeps
        none.
      everywhere: listen on all network interfaces; else on the loopback alone.

    Raises:
      UserError: the port is taken, the checkpoint damaged, or this machine cannot keep
        a socket to itself.
    """
    if port is not None:
        _check_free(port)
    checkpointer = None
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{folder} cannot be made: {error.strerror}") from error
        checkpointer = reverb.checkpointers.DefaultCheckpointer(str(folder))
    failure = None
    with filtered_stderr(only_on_error=True):
        try:
            server = reverb.Server(tables, port, checkpointer)
        except (RuntimeError, ValueError) as error:
            failure = " ".join(str(error).split())
    if failure:
        cure = "choose another port"
        if folder is not None and any(folder.iterdir()):
            cure = (
                f"if the checkpoint in {folder} is damaged, restore it, or move it "
                "away and start without its transitions"
            )
        raise UserError(f"the replay server cannot start ({failure:.200}); {cure}")
    try:
        if not everywhere:
            _keep_to_loopback(server.port)
        yield server
    finally:
        with filtered_stderr(only_on_error=True):
            server.stop()


def _check_free(port: int) -> None:
    """Refuses a port that somebody listens at: Reverb would share it, unheard.

    Raises:
      UserError: so.
    """
    with socket.socket(socket.AF_INET6) as one:
        # A port whose connections are still fading away is free.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("::", port))
        except OSError as error:
            raise UserError(
                f"the replay server cannot listen on port {port} ({error.strerror}); "
                "choose another"
            ) from error


def _keep_to_loopback(port: int) -> None:
    """Binds the listening sockets of this process on `port` to the loopback device.

    Reverb always listens on all interfaces, and anybody who reaches it can write.

    Raises:
      UserError: the machine does not allow it.
    """
    found = 0
    for one in listening(port):
        try:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo\0")
        except OSError as error:
            raise UserError(
                f"the replay server's socket cannot be kept to this machine ({error});"
                " Linux from 5.7 on can; in a network you trust, let it listen "
                "everywhere"
            ) from error
        found += 1
    assert found, f"no socket of this process listens on port {port}"


def listening(port: int) -> Iterator[socket.socket]:
    """This process' sockets that listen on a port, each open until the next."""
    for name in os.listdir("/proc/self/fd"):
        try:
            descriptor = int(name)
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                continue
            one = socket.socket(fileno=os.dup(descriptor))
        except OSError:
            continue
        with one, contextlib.suppress(OSError):
            listens = one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if listens and one.getsockname()[1] == port:
                yield one


def save(client: reverb.Client) -> None:
    """Writes a checkpoint of all tables, which stand still meanwhile.

    Raises:
      RuntimeError: the server cannot write it; the one before is kept.
    """
    try:
        with filtered_stderr(only_on_error=True):
            client.checkpoint()
    except Exception as error:
        # Reverb's kinds mean nothing here: a full disk is an IndexError.
        raise RuntimeError(str(error)) from error


def answers(client: reverb.Client) -> bool:
    """Whether the server says anything at all."""
    try:
        client.server_info(timeout=INFO_DEADLINE_SECONDS)
    except (reverb.errors.ReverbError, RuntimeError):
        return False
    return True


def describe(client: reverb.Client) -> str:
    """One line on every table: what stands in it and whether anyone waits.

    Never raises: it is what error messages end with.
    """
    try:
        tables = client.server_info(timeout=INFO_DEADLINE_SECONDS)
    except (reverb.errors.ReverbError, RuntimeError) as error:
        text = " ".join(str(error).split())
        return f"server {client.server_address} does not answer ({text:.120})"
    lines = []
    for name, info in sorted(tables.items()):
        limiter = info.rate_limiter_info
        lines.append(
            f"{name}: {info.current_size} of {info.max_size} items, at least "
            f"{limiter.min_size_to_sample} to sample, "
            f"{limiter.insert_stats.completed} inserted, "
            f"{limiter.sample_stats.completed} sampled"
        )
    return f"server {client.server_address}: " + "; ".join(lines)
