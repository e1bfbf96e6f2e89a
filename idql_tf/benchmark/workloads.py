"""What is timed: machine rates, training updates, stacking, extraction.

Every function returns JSON-able rows and times the things it compares in turns.
"""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from idql_tf.behavior.networks import LnResnet
from idql_tf.benchmark import flops
from idql_tf.benchmark.measure import (
    Run,
    Timing,
    memory_pass,
    normal,
    paired_ratio,
    products,
    repeated,
    repeated_beside,
    seconds,
    square_matmul,
)
from idql_tf.nn import dense, randomness
from idql_tf.nn.adam import Adam
from idql_tf.runs.evaluation import compile_policy
from idql_tf.training.arrays import DeviceArrays
from idql_tf.training.learner import IdqlLearner

# Critic and behaviour updates of one piece of work. The last is the paper's
# proportion, 1.5 M critic and 3 M behaviour steps.
WORKS = {
    "behaviour": (0, 1),
    "critic": (1, 0),
    "1 critic + 1 behaviour": (1, 1),
    "1 critic + 2 behaviour": (1, 2),
}

Row = dict[str, Any]
Timer = Callable[[dict[Any, Run]], dict[Any, Timing]]


def machine_rates(timer: Timer, size: int, num_bytes: int) -> Row:
    """FLOP/s of a large square product and byte/s of a pass over memory."""
    found = timer({"square": square_matmul(size), "memory": memory_pass(num_bytes)})
    return {
        "square_matmul": _rates(found["square"], 2 * size**3) | {"size": size},
        "memory": {
            "bytes_per_second": 2 * num_bytes / found["memory"].median,
            "bytes": num_bytes,
            **found["memory"].to_json(),
        },
    }


def synthetic_arrays(
    num_transitions: int, observation_size: int, action_size: int
) -> DeviceArrays:
    """Random transitions on the device, none held out."""
    everything = tf.range(num_transitions)
    return DeviceArrays(
        rows=normal(num_transitions + 1, observation_size),
        index=everything,
        actions=tf.tanh(normal(num_transitions, action_size)),
        rewards=normal(num_transitions),
        masks=tf.ones([num_transitions]),
        train=everything,
        validation=everything[:0],
    )


def updates(
    timer: Timer, arrays: DeviceArrays, learners: dict[bool, IdqlLearner]
) -> list[Row]:
    """Every piece of work with XLA off and on, beside its products alone.

    Args:
      timer: times runs in turns.
      arrays: the data.
      learners: the same learner without (False) and with XLA (True).

    Returns:
      One row per piece of work and XLA switch.
    """
    layers = update_layers(learners[False])
    # One call takes everything a learner compiles; it is not timed as work.
    compile_seconds = {
        xla: seconds(_training(learner, arrays, (1, 1)), 1)
        for xla, learner in learners.items()
    }
    runs: dict[Any, Run] = {}
    for in_order in (True, False):
        steps = [products(listed, in_order) for listed in layers.values()]
        for work, counts in WORKS.items():
            taken = [(step, n) for step, n in zip(steps, counts, strict=True) if n]
            runs["matmul", work, in_order] = repeated_beside(taken)
    for work, counts in WORKS.items():
        for xla, learner in learners.items():
            runs["update", work, xla] = _training(learner, arrays, counts)
    found = timer(runs)
    operations = [flops.total(listed) for listed in layers.values()]
    return [
        {
            "num_seeds": len(learner.seeds),
            "work": work,
            "xla": xla,
            **_beside(
                found["update", work, xla],
                found["matmul", work, True],
                found["matmul", work, False],
                sum(n * f for n, f in zip(counts, operations, strict=True)),
            ),
            "compile_seconds": compile_seconds[xla],
        }
        for work, counts in WORKS.items()
        for xla, learner in learners.items()
    ]


def update_layers(learner: IdqlLearner) -> dict[str, list[flops.Layer]]:
    """The products of one critic update and of one behaviour update."""
    return {
        "critic": flops.critic_update(learner.critic, learner.critic_batch_size),
        "behavior": flops.behavior_update(
            learner.behavior, learner.behavior_batch_size
        ),
    }


def stacking(timer: Timer, learner: IdqlLearner) -> Row:
    """Forward, backward and Adam of a stack of one seed against no stack.

    Args:
      timer: times runs in turns.
      learner: gives the sizes.
    """
    xla = dense.on_gpu()
    runs: dict[Any, Run] = {
        stacked: repeated(_network_step(learner, stacked), xla)
        for stacked in (True, False)
    }
    found = timer(runs)
    return {
        "ratio": paired_ratio(found[True].seconds, found[False].seconds),
        "xla": xla,
        "stacked": found[True].to_json(),
        "unstacked": found[False].to_json(),
    }


def extraction(
    timer: Timer, learner: IdqlLearner, num_candidates: int, batch_sizes: Sequence[int]
) -> list[Row]:
    """Argmax policy calls on [S, B, D] beside their products alone."""
    policy = compile_policy(learner, ("argmax", num_candidates))
    calls = {batch: _acting(policy, learner, batch) for batch in batch_sizes}
    return _policy_rows(timer, learner, num_candidates, calls)


def exported(
    timer: Timer, learner: IdqlLearner, num_candidates: int, batch_sizes: Sequence[int]
) -> list[Row]:
    """Calls of an exported model's serving_default beside their products alone.

    It changes the learner's weights.
    """
    # As training leaves them: ones and zeros are folded out of a graph, and what is
    # left of a layer norm, or of a product with its bias, no longer runs as one op.
    critic, behavior = learner.critic, learner.behavior
    for weights in (*critic.acting_variables, *behavior.average.weights):
        weights.assign_add(0.1 * normal(*weights.shape))
    # Here, for every script imports this module and TF-Agents takes two seconds.
    from idql_tf.export import saved_model

    policy = saved_model.flat_policy(critic, behavior, num_candidates)
    with tempfile.TemporaryDirectory() as folder:
        saved_model.write(policy, pathlib.Path(folder))
        serve = tf.saved_model.load(folder).signatures["serving_default"]

    def call(rows: tf.Tensor) -> Run:
        def run(count: int) -> None:
            for _ in range(count):
                serve(observation=rows)["action"].numpy()

        return run

    calls = {
        batch: call(normal(batch, critic.observation_size)) for batch in batch_sizes
    }
    return _policy_rows(timer, learner, num_candidates, calls)


def _policy_rows(
    timer: Timer, learner: IdqlLearner, num_candidates: int, calls: dict[int, Run]
) -> list[Row]:
    """Times policy calls, by batch size, beside their products alone, in order."""
    layers = {
        batch: flops.extraction(learner.behavior, learner.critic, batch, num_candidates)
        for batch in calls
    }
    runs: dict[Any, Run] = {}
    for batch, call in calls.items():
        runs[batch, "policy"] = call
        runs[batch, "matmul"] = repeated(products(layers[batch], in_order=True))
        runs[batch, "unordered"] = repeated(products(layers[batch]))
    found = timer(runs)
    return [
        {
            "num_candidates": num_candidates,
            "batch_size": batch,
            **_beside(
                found[batch, "policy"],
                found[batch, "matmul"],
                found[batch, "unordered"],
                flops.total(listed),
            ),
            "candidates_per_second": (
                batch * num_candidates / found[batch, "policy"].median
            ),
        }
        for batch, listed in layers.items()
    ]


def _rates(timing: Timing, operations: int) -> Row:
    per_second = operations / timing.median
    return {"flops": operations, "flops_per_second": per_second, **timing.to_json()}


def _beside(
    timing: Timing, products_alone: Timing, unordered: Timing, operations: int
) -> Row:
    return {
        **_rates(timing, operations),
        "matmul": _rates(products_alone, operations),
        "matmul_fraction": paired_ratio(products_alone.seconds, timing.seconds),
        # A pass through a network cannot have them so: a layer needs the one before.
        "unordered_matmul": _rates(unordered, operations),
        "unordered_fraction": paired_ratio(unordered.seconds, timing.seconds),
    }


def _training(
    learner: IdqlLearner, arrays: DeviceArrays, counts: tuple[int, int]
) -> Run:
    def run(count: int) -> None:
        metrics = learner.train(arrays, counts[0] * count, counts[1] * count)
        for value in metrics.values():
            value.numpy()

    return run


def _acting(policy: Callable, learner: IdqlLearner, batch_size: int) -> Run:
    seeds = tf.constant(learner.seeds, tf.int64)
    observations = normal(
        len(learner.seeds), batch_size, learner.critic.observation_size
    )

    def run(count: int) -> None:
        for step in range(count):
            policy(observations, seeds, tf.constant(step, tf.int64)).numpy()

    return run


def _network_step(learner: IdqlLearner, stacked: bool) -> Callable[[], tf.Tensor]:
    observation_size = learner.critic.observation_size
    action_size = learner.behavior.action_size
    net = LnResnet(observation_size, action_size, (0,), stacked=stacked)
    optimizer = Adam(net.trainable_variables)
    lead = (
        (1, learner.behavior_batch_size) if stacked else (learner.behavior_batch_size,)
    )
    actions, observations = normal(*lead, action_size), normal(*lead, observation_size)
    num_steps = learner.behavior.coefficients.num_steps
    steps = tf.zeros(lead, tf.int32)
    one = randomness.short_bits(tf.zeros([1, 2], tf.int64), [lead[-1], net.hidden_dim])
    draws = [one if stacked else one[0]] * net.num_dropouts

    def step() -> tf.Tensor:
        variables = net.trainable_variables
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            predicted = net(actions, observations, steps, num_steps, draws)
            loss = tf.reduce_mean(tf.math.squared_difference(predicted, actions))
        optimizer.apply(tape.gradient(loss, variables), 1e-4)
        return loss

    return step
