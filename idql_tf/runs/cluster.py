"""What `launch/finetune.py --cluster` does: Ray places the processes of a finetuning.

It also restarts what dies; each process goes on where it was by itself.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

from idql_tf import exits
from idql_tf.runs import jobs, ray_library
from idql_tf.runs.online import Request
from idql_tf.runs.placement import Placement
from idql_tf.training.offline import StopSignals


def finetune(
    request: Request, num_env_steps: int, output_dir: str | None = None
) -> int:
    """As `runs.finetune.finetune`, with server, learner and actors placed by Ray.

    RUN_DIR and the output must be on a file system that all nodes share. The server
    keeps its checkpoints in OUTPUT-server.

    Returns:
      The exit code: 0 when done, 75 when stopped by a signal after saving.

    Raises:
      UserError: as there; or the cluster has not what gin asks of it.
      Failure: the work failed as often as Ray tries.
    """
    request.open()
    placement = jobs.configured(lambda: Placement())
    output = request.output_path(output_dir).absolute()
    with ray_library.connected() as ray:
        cpus = placement.learner_cpus + placement.num_actors * placement.actor_cpus
        ray_library.check_room(ray, CPU=cpus, GPU=placement.learner_gpus)
        start = ray_library.run_as_task(ray)
        node = ray.get_runtime_context().get_node_id()
        on = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        here = {"scheduling_strategy": on(node, soft=False)}
        elsewhere = {} if placement.everywhere else here
        host = ray.util.get_node_ip_address() if placement.everywhere else "localhost"
        port = _free_port()
        address, folder = f"{host}:{port}", f"{output}-server"
        server = start.options(name="server", num_cpus=0, **here).remote(
            "replay_server.serve", request, folder, port, placement.everywhere
        )
        learner = start.options(name="learner", **placement.learner, **elsewhere)
        learning = learner.remote(
            "learner.learn", request, num_env_steps, address, str(output)
        )
        actor = start.options(name="actor", num_cpus=placement.actor_cpus, **elsewhere)
        acting = [
            actor.remote("actor.act", request, address)
            for _ in range(placement.num_actors)
        ]
        try:
            return _watch(ray, learning, [server, *acting])
        finally:
            # The server last: the others still speak to it.
            for tasks in acting, [learning], [server]:
                ray_library.end(ray, tasks)


def _watch(ray: Any, learner: Any, others: Sequence[Any]) -> int:
    """Waits for the learner; an error of anyone, or a signal to anyone, stops all."""
    waiting = [learner, *others]
    # Ray had put its own handlers in place.
    with StopSignals() as stop:
        while stop.received is None:
            ended, waiting = ray.wait(waiting, timeout=0.5)
            for one in ended:
                code = ray_library.result(ray, one)
                if one == learner or code == exits.RESUMABLE:
                    return code
    return exits.RESUMABLE


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("", 0))
        return found.getsockname()[1]
