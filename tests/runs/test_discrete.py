"""Discrete actions through every command, on a CartPole small enough for seconds."""

import json

import gin
import pytest
import tensorflow as tf
from tiny_run import check_refused, run_warm, script

from idql_tf import config
from idql_tf.data.transitions import DatasetInfo
from idql_tf.errors import UserError
from idql_tf.runs import jobs
from idql_tf.runs.directory import Run

DISCRETE = "gin/tasks/discrete.gin"
TINY = [
    "CRITIC_STEPS=400",
    "BEHAVIOR_STEPS=400",
    "NUM_CANDIDATES=8",
    "Critic.hidden_dims=(16, 16)",
    "CategoricalBehavior.hidden_dims=(16,)",
    "CategoricalBehavior.average_rate=0.05",
    "IdqlLearner.behavior_batch_size=64",
    "train.checkpoint_every=400",
    "train.evaluate_every=400",
    "train.episodes=2",
]
FINETUNED = [
    "finetune.warm_start_steps=20",
    "finetune.log_every=50",
    "finetune.checkpoint_every=100",
    "finetune.evaluate_every=100",
    "finetune.episodes=1",
]


@pytest.mark.parametrize("discrete", [True, False])
def test_a_behaviour_model_of_other_actions_is_refused(tmp_path, discrete):
    info = DatasetInfo("cart", "", None, (), 4, (0.0,), (1.0,), None, 1, discrete)
    config.load([] if discrete else [DISCRETE], ["LnResnet.hidden_dim=8"])
    kinds = ("discrete", "diffusion") if discrete else ("continuous", "categorical")
    cure = "add" if discrete else "leave out"
    with pytest.raises(UserError) as caught:
        jobs.make_learner(Run(tmp_path, info, None, (0,)))
    gin.clear_config()
    for words in (*kinds, f"{cure} --gin_file {DISCRETE}"):
        assert words in str(caught.value)


def _done(*command, **options):
    result = run_warm(script(*command, **options))
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_collect_train_evaluate_export_finetune(tmp_path):
    path, run_dir, model = (tmp_path / name for name in ("cart-v0", "run", "model"))
    data, run = f"--dataset=minari:{path}", f"--run_dir={run_dir}"
    small = ("--env_id=CartPole-v1", "--num_steps=2000", f"--output={path}")
    assert f"--dataset minari:{path}" in _done("collect.py", *small)
    assert "one of 2 (0: " in _done("inspect_data.py", data)
    check_refused(run_warm(script("train.py", data, run)), DISCRETE)
    _done("train.py", data, run, "--seeds=0,1", params=TINY, files=[DISCRETE])
    _done("evaluate.py", run, "--extraction=implicit", "--episodes=2")
    found = json.loads((run_dir / "summary.json").read_text())["methods"]
    names = {(entry["extraction"], entry["num_candidates"]) for entry in found}
    assert names == {("argmax", 8), ("argmax", 1), ("implicit", 8)}
    assert "Discrete IDQL (N = 8)" in (run_dir / "report.html").read_text()
    _done("export.py", run, f"--output={model}", "--tflite", "--safe_action=1")
    card = json.loads((model / "model_card.json").read_text())
    action = {"size": 2, "dtype": "int64", "low": [0.0], "high": [1.0]}
    assert card["action"] == action and card["behavior_model"] == "categorical"
    for name in ("saved_model", "tflite_float32"):
        assert card["parity"][name]["largest_action_difference"] == 0.0
    serve = tf.saved_model.load(str(model)).signatures["serving_default"]
    given = serve(tf.constant([[0.0] * 4, [float("nan")] * 4]))["action"].numpy()
    assert given[0] in (0, 1) and given[1] == 1

    def finetune(mode):
        flags = (run, f"--mode={mode}", "--num_env_steps=100")
        return script("finetune.py", *flags, params=FINETUNED)

    check_refused(run_warm(finetune("max")), "explore nothing", "--mode imp")
    result = run_warm(finetune("imp"))
    assert result.returncode == 0, result.stderr
