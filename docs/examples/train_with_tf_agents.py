r"""Trains IDQL online with TF-Agents' Actor and Learner, and Reverb.

Example:
  python docs/examples/train_with_tf_agents.py --root_dir runs/tf_agents \
      --env_id InvertedPendulum-v5 --gin_param "train_eval.batch_size=64"

gin/base.gin (the paper's numbers) is read first, then each --gin_file, then
each --gin_param. Run the same command again to resume after a kill.
"""

import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

import gin  # noqa: E402
from absl import flags, logging  # noqa: E402

from idql_tf import cli, quiet  # noqa: E402

quiet.import_quietly()
with quiet.filtered_stderr():
    import reverb
    import tensorflow as tf
    from tf_agents.policies import py_policy
    from tf_agents.policies.policy_saver import PolicySaver
    from tf_agents.policies.py_tf_eager_policy import PyTFEagerPolicy
    from tf_agents.policies.random_py_policy import RandomPyPolicy
    from tf_agents.replay_buffers.reverb_replay_buffer import ReverbReplayBuffer
    from tf_agents.replay_buffers.reverb_utils import ReverbAddTrajectoryObserver
    from tf_agents.train import actor, learner, triggers
    from tf_agents.train.utils import spec_utils, train_utils
    from tf_agents.typing import types

    from idql_tf.agents.idql_agent import IdqlAgent
    from idql_tf.environments import py_environment

ROOT_DIR = flags.DEFINE_string(
    "root_dir", None, "Folder of checkpoints, summaries and policies.", required=True
)
ENV_ID = flags.DEFINE_string("env_id", "InvertedPendulum-v5", "Environment.")
NUM_ITERATIONS = flags.DEFINE_integer(
    "num_iterations", 10_000, "Train steps, those of earlier starts included."
)
SEED = flags.DEFINE_integer("seed", 0, "Of networks, training and environments.")
cli.define_gin_flags()

TABLE = "uniform_table"


def log_to(path: str) -> None:
    """Sends what the libraries log, from C++ too, to a file."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    logging.use_absl_handler()
    logging.set_verbosity(logging.INFO)
    # Reverb writes to file descriptor 2, whatever its user asks for.
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)


def start_replay(
    data_spec: types.NestedTensorSpec, folder: str, capacity: int, timeout_seconds: int
) -> ReverbReplayBuffer:
    """Starts a Reverb server with the newest checkpoint in `folder`, if any."""
    table = reverb.Table(
        TABLE,
        max_size=capacity,
        sampler=reverb.selectors.Uniform(),
        remover=reverb.selectors.Fifo(),
        rate_limiter=reverb.rate_limiters.MinSize(1),
    )
    checkpointer = reverb.checkpointers.DefaultCheckpointer(folder)
    server = reverb.Server([table], checkpointer=checkpointer)
    # The buffer asks for the same, but would wait for ever.
    reverb.Client(f"localhost:{server.port}").server_info(timeout_seconds)
    return ReverbReplayBuffer(
        data_spec,
        table_name=TABLE,
        sequence_length=2,
        local_server=server,
        rate_limiter_timeout_ms=1_000 * timeout_seconds,
    )


@gin.configurable(denylist=["root_dir", "env_id", "num_iterations", "seed"])
def train_eval(
    root_dir: str,
    env_id: str,
    num_iterations: int,
    seed: int,
    num_candidates: int = 64,
    batch_size: int = 256,
    initial_collect_steps: int = 2_000,
    replay_capacity: int = 1_000_000,
    replay_timeout_seconds: int = 60,
    eval_episodes: int = 10,
    interval: int = 1_000,
) -> None:
    """Collects and trains, one step of each in turn.

    Every `interval` train steps it evaluates, writes summaries and checkpoints.
    """
    tf.keras.utils.set_random_seed(seed)
    env = py_environment.load(env_id, seed=seed)
    eval_env = py_environment.load(env_id, seed=seed + 1)
    _, action_spec, time_step_spec = spec_utils.get_tensor_specs(env)
    step = train_utils.create_train_step()
    agent = IdqlAgent(
        time_step_spec, action_spec, num_candidates, seed=seed, train_step_counter=step
    )
    train_dir = os.path.join(root_dir, learner.TRAIN_DIR)
    policy_dir = os.path.join(root_dir, learner.POLICY_SAVED_MODEL_DIR)
    replay_dir = os.path.join(train_dir, learner.REPLAY_BUFFER_CHECKPOINT_DIR)
    replay = start_replay(
        agent.collect_data_spec, replay_dir, replay_capacity, replay_timeout_seconds
    )
    observer = ReverbAddTrajectoryObserver(replay.py_client, TABLE, sequence_length=2)

    def dataset() -> tf.data.Dataset:
        pairs = replay.as_dataset(sample_batch_size=batch_size, num_steps=2).unbatch()
        inside = pairs.filter(lambda pair, _: ~pair.is_boundary()[0])
        return inside.batch(batch_size).prefetch(5)

    def collector(policy: py_policy.PyPolicy, steps: int) -> actor.Actor:
        return actor.Actor(env, policy, step, steps_per_run=steps, observers=[observer])

    save_policy = triggers.PolicySavedModelTrigger(
        policy_dir,
        agent,
        step,
        interval,
        save_greedy_policy=False,  # argmax is greedy already; TF alone loads this one
        save_collect_policy=False,
    )
    save_replay = triggers.ReverbCheckpointTrigger(step, interval, replay.py_client)
    log_speed = triggers.StepPerSecondLogTrigger(step, interval)
    idql_learner = learner.Learner(
        root_dir,
        step,
        agent,
        dataset,
        triggers=[save_policy, save_replay, log_speed],
        checkpoint_interval=interval,
        summary_interval=interval,
    )
    print(f"train step {step.numpy()}")

    if not replay.num_frames():
        specs = env.time_step_spec(), env.action_spec()
        collector(RandomPyPolicy(*specs, seed=seed), initial_collect_steps).run()
        # The next Actor resets the environment without telling the observer.
        observer.reset(write_cached_steps=False)
    observer.flush()
    collect_policy = PyTFEagerPolicy(agent.collect_policy, use_tf_function=True)
    collect_actor = collector(collect_policy, 1)
    eval_actor = actor.Actor(
        eval_env,
        PyTFEagerPolicy(agent.policy, use_tf_function=True),
        step,
        episodes_per_run=eval_episodes,
        metrics=actor.eval_metrics(buffer_size=eval_episodes),
        summary_dir=os.path.join(root_dir, "eval"),
        summary_interval=interval,
    )
    try:
        while (now := step.numpy() + 1) <= num_iterations:
            collect_actor.run()
            loss = idql_learner.run().loss.numpy()
            if now % interval == 0 or now == num_iterations:
                eval_actor.run()
                score = eval_actor.metrics[0].result()
                print(f"train step {now}: loss {loss:.4g}, return {score:.1f}")
    except tf.errors.OutOfRangeError:
        raise TimeoutError(
            f"no transition from Reverb in {replay_timeout_seconds} s; "
            f"it holds {replay.num_frames()}: is initial_collect_steps too small?"
        ) from None
    for trigger in idql_learner.triggers:
        trigger(step.numpy(), force_trigger=True)
    observer.close()
    replay.local_server.stop()

    final_dir = os.path.join(policy_dir, "final")
    PolicySaver(agent.policy, train_step=step).save(final_dir)
    print(f"policy = tf.saved_model.load({final_dir!r}); policy.action(time_step)")


def main() -> None:
    """Runs `train_eval` by the flags."""
    cli.load_gin()
    sys.stdout.reconfigure(line_buffering=True)
    log_to(os.path.join(ROOT_DIR.value, "log.txt"))
    train_eval(ROOT_DIR.value, ENV_ID.value, NUM_ITERATIONS.value, SEED.value)


if __name__ == "__main__":
    cli.run(main)
