"""What the tests of exported models share."""

import functools
import json

import gin
import numpy as np
import tensorflow as tf
import tiny_run
from tf_agents.trajectories import time_step as ts

from idql_tf.behavior import schedules
from idql_tf.behavior.networks import Mlp
from idql_tf.behavior.updates import Behavior
from idql_tf.critic.objectives import Expectile
from idql_tf.critic.updates import Critic
from idql_tf.export import saved_model
from idql_tf.runs import directory
from idql_tf.runs import policy as run_policy

D, A = 6, 2
BATCHES = (1, 7, 256)
# Takes the checkpoint as it is, and spares half of an export's time.
FEW_STEPS = "Behavior.num_diffusion_steps=2"


def launch(run_dir, output, *args):
    """Runs launch/export.py."""
    flags = [f"--run_dir={run_dir}", f"--output={output}", *args]
    return tiny_run.run_warm(tiny_run.script("export.py", *flags))


def make_policy(run_dir, seed, num_candidates, extraction, params=(), **options):
    """The policy in memory that an export is compared with."""
    run = directory.open_run(str(run_dir), (), params)
    learner = run_policy.restore(run)
    policy = run_policy.make(run, learner, seed, num_candidates, extraction, **options)
    gin.clear_config()
    return policy


def small_policy(num_candidates):
    """A policy of networks that were never trained, with two diffusion steps."""
    sizes = {"num_hidden": 2, "time_dim": 4, "condition_dims": (8, 8)}
    network = functools.partial(Mlp, activation="mish", hidden_dim=256, **sizes)
    critic = Critic(D, A, (0,), Expectile(0.9), (256, 256), 2, 0.99, 3e-4, 0.005)
    behavior = Behavior(D, A, (0,), network, schedules.vp, 2, 3e-4, None, 0.001)
    return saved_model.flat_policy(critic, behavior, num_candidates)


def read_card(folder):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    text = (folder / "model_card.json").read_text()
    return json.loads(text, parse_constant=refuse)


def read_spec(run_dir):
    return json.loads((run_dir / "spec.json").read_text())


def observations(batch, seed=0):
    """Positions, velocities and goals about the maze, float32 [batch, 6]."""
    rng = np.random.default_rng(seed)
    return rng.uniform(-1.2, 1.2, (batch, D)).astype(np.float32)


def parts(rows):
    """The dict observation of flat ones."""
    return {"observation": rows[:, :4], "desired_goal": rows[:, 4:]}


def time_step(rows):
    """What the environment would show: its third key is not looked at."""
    observed = parts(rows) | {"achieved_goal": np.full_like(rows[:, :2], 9.0)}
    return ts.restart(tf.nest.map_structure(tf.constant, observed), len(rows))


def sample(model, rows, seed, num_candidates=0, temperature=0.0):
    """Calls the signature `sample`; gives arrays."""
    found = model.signatures["sample"](
        observation=tf.constant(rows),
        num_candidates=tf.constant(num_candidates),
        temperature=tf.constant(temperature),
        seed=tf.constant(seed, tf.int64),
    )
    return {name: tensor.numpy() for name, tensor in found.items()}
