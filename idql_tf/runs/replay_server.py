"""What `launch/replay_server.py` does."""

from __future__ import annotations

import json
import pathlib
import socket
import time
from collections.abc import Callable, Sequence

import tensorflow as tf
from rich.console import Console

from idql_tf import exits, files
from idql_tf.errors import Failure, UserError
from idql_tf.replay import server, tables
from idql_tf.replay.library import reverb
from idql_tf.runs import jobs, online, remote
from idql_tf.runs.online import Request
from idql_tf.training.offline import StopSignals

_RECORD = "tables.json"


def serve(request: Request, folder: str, port: int, everywhere: bool = False) -> int:
    """Runs the replay server of a finetuning until a signal comes.

    Args:
      request: the run that is finetuned, and how.
      folder: of the server's checkpoints; what is there is served again.
      port: where it listens.
      everywhere: listen on all network interfaces; else on this machine alone.

    Returns:
      The exit code: 75, for it ends by a signal, after saving.

    Raises:
      UserError: the run cannot be read, the port is taken, or the folder is another
        server's.
    """
    console = Console(soft_wrap=True)
    remote.leave_gpu()
    source, settings = request.open()
    transitions = online.load_data(source, request.env_id)
    sizes = online.sizes_of(source, settings)
    offline = online.offline_table(transitions, sizes, settings)
    made = [
        *remote.make_tables(source, sizes, settings, jobs.make_learner(source)),
        offline,
    ]
    path = pathlib.Path(folder)
    record = _record(made)
    _check_same(path, record)
    path.mkdir(parents=True, exist_ok=True)
    with (
        files.locked(path),
        StopSignals() as stop,
        # Not beside other files: Reverb takes what comes last for the newest.
        server.serve(made, port, path / "checkpoints", everywhere) as running,
    ):
        files.write_atomically(path / _RECORD, record)
        client = reverb.Client(f"localhost:{running.port}")
        found = client.server_info(server.INFO_DEADLINE_SECONDS)
        filled = found[tables.OFFLINE].current_size
        if filled < offline.info.max_size:
            online.fill_offline(client, transitions, source, settings)
        del transitions
        host = socket.gethostname() if everywhere else "localhost"
        console.print(
            f"replay server at {host}:{running.port}; {server.describe(client)}",
            markup=False,
            highlight=False,
        )

        def save() -> None:
            server.save(client)
            # Who removed the folder meanwhile has a whole one again.
            files.write_atomically(path / _RECORD, record)

        _tend(save, console, stop, settings.server_checkpoint_seconds)
    console.print(f"{stop.received}: saved in {path}; the same command goes on")
    return exits.RESUMABLE


def _tend(
    save: Callable[[], None], console: Console, stop: StopSignals, every: float
) -> None:
    """Saves from time to time and at a signal."""
    saved = time.monotonic()
    while stop.received is None:
        time.sleep(0.1)
        if time.monotonic() - saved < every:
            continue
        try:
            save()
        except (OSError, RuntimeError) as error:
            # What it holds is worth more than its checkpoint.
            text = " ".join(str(error).split())
            console.print(
                f"could not save ({text:.160}); serving on, and trying again in "
                f"{every:g} s",
                markup=False,
            )
        saved = time.monotonic()
    try:
        save()
    except (OSError, RuntimeError) as error:
        raise Failure(
            f"could not save ({' '.join(str(error).split()):.160}); what was saved "
            "before is whole"
        ) from error


def _record(made: Sequence[reverb.Table]) -> str:
    """What a folder's checkpoints are of."""
    found = {
        table.info.name: {
            "max_size": table.info.max_size,
            "items": [
                (x.shape.as_list(), x.dtype.name)
                for x in tf.nest.flatten(table.info.signature)
            ],
        }
        for table in made
    }
    return json.dumps(found, indent=1, sort_keys=True)


def _check_same(path: pathlib.Path, record: str) -> None:
    """Refuses a folder of other tables, or of anything else.

    Raises:
      UserError: so.
    """
    files.check_plain(path)
    try:
        if (path / _RECORD).exists():
            if (path / _RECORD).read_text(errors="replace") == record:
                return
            raise UserError(
                f"{path} is of another run's replay server, or of other settings; "
                "repeat the old command, or name a new --folder"
            )
        # Reverb removes what it finds beside its own checkpoints.
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UserError(
                f"{path} is not an empty folder and not a replay server's (no "
                f"{_RECORD}); name a new --folder"
            )
    except OSError as error:
        raise UserError(
            f"{path} cannot be used: {error}; name another --folder"
        ) from error
