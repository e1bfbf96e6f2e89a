"""What an exported model does: options, bad observations, and the other kinds."""

import functools
from collections import Counter

import exporting
import numpy as np
import pytest
import tensorflow as tf
import tiny_run
from exporting import FEW_STEPS, A, D, observations, sample
from tf_agents.policies.py_tf_eager_policy import SavedModelPyTFEagerPolicy
from tf_agents.specs import tensor_spec

from idql_tf.evaluation import rollouts
from idql_tf.export import tflite
from idql_tf.runs import directory

SAFE = np.float32([0.25, -0.5])
SEED = 3
ROWS = observations(7)


def test_a_draw_is_a_function_of_its_seed(model):
    first, again, other, negative = (
        sample(model, ROWS, seed)["action"] for seed in (SEED, SEED, 4, -SEED)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any() and (first != negative).any()


def test_options_of_a_draw(model):
    default = sample(model, ROWS, SEED)
    near = functools.partial(np.testing.assert_allclose, rtol=0, atol=5e-6)
    spelled = sample(model, ROWS, SEED, num_candidates=64)
    near(spelled["action"], default["action"])
    alone = sample(model, ROWS, SEED, num_candidates=1)
    assert (alone["action"] != default["action"]).any(-1).all()
    assert (alone["action_spread"] == 0).all() and (default["action_spread"] > 0).all()
    # The candidates are the same: only the choice among them changes.
    cold, hot = (sample(model, ROWS, SEED, 0, t) for t in (1e6, 1e-6))
    near(cold["action"], default["action"])
    assert (hot["q_value"] < default["q_value"] - 1e-3).any()
    assert (hot["q_value"] <= default["q_value"] + 1e-5).all()
    near(hot["action_spread"], default["action_spread"])


@pytest.mark.parametrize("options", [(-1, 0.0), (0, -1.0), (0, float("nan"))])
def test_options_without_a_meaning_are_refused(model, options):
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected num_candidates"):
        sample(model, ROWS, SEED, *options)


@pytest.mark.parametrize("shape", [[2, 3], [1, 2 * D], [D], [1, 2, D]])
def test_observations_of_another_size_are_refused(model, shape):
    with pytest.raises(tf.errors.InvalidArgumentError, match="not compatible"):
        model.signatures["serving_default"](observation=tf.zeros(shape))
    with pytest.raises(tf.errors.InvalidArgumentError, match="not compatible"):
        sample(model, np.zeros(shape, np.float32), SEED)


def test_swapped_parts_of_an_observation_are_refused(model):
    parts = {"observation": tf.zeros([1, 2]), "desired_goal": tf.zeros([1, 4])}
    with pytest.raises(tf.errors.InvalidArgumentError, match="not compatible"):
        model.signatures["dict"](**parts)


def test_an_empty_batch_gives_none(model):
    assert sample(model, ROWS[:0], SEED)["action"].shape == (0, A)


def _broken(value):
    rows = ROWS.copy()
    rows[3, 5] = value
    return rows


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_non_finite_observation_is_refused_by_its_row(model, value):
    rows = _broken(value)
    parts = exporting.parts(rows)
    calls = [
        lambda: sample(model, rows, SEED),
        lambda: model.signatures["serving_default"](observation=tf.constant(rows)),
        lambda: model.signatures["dict"](**tf.nest.map_structure(tf.constant, parts)),
        lambda: model.action(exporting.time_step(rows)),
    ]
    for call in calls:
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"in row\D*3\D"):
            call()


def test_tf_agents_acts_with_it(exported, model, policy):
    eager = SavedModelPyTFEagerPolicy(str(exported.folder), load_specs_from_pbtxt=True)
    assert eager.action_spec == tensor_spec.to_array_spec(policy.action_spec)
    one = tf.nest.map_structure(lambda x: x.numpy()[0], exporting.time_step(ROWS))
    draws = np.stack([eager.action(one).action for _ in range(5)])
    assert draws.shape == (5, A) and (np.abs(draws) <= 1).all()
    assert (draws != draws[0]).any()
    time_step = exporting.time_step(ROWS)
    flat = {
        f"0/{name}": getattr(time_step, name)
        for name in ("step_type", "reward", "discount")
    }
    flat |= {f"0/observation/{k}": x for k, x in time_step.observation.items()}
    signature = model.signatures["action"]
    names = {
        spec.name: key for key, spec in signature.structured_input_signature[1].items()
    }
    by_signature = signature(**{names[name]: x for name, x in flat.items()})
    for action in (
        model.action(time_step).action.numpy(),
        by_signature["action"].numpy(),
    ):
        assert action.shape == (7, A) and (np.abs(action) <= 1).all()
        # Each is the best of 64: better than most actions.
        others = np.random.default_rng(0).uniform(-1, 1, (350, A)).astype(np.float32)
        theirs = policy.q_value(np.tile(ROWS, (50, 1)), others).numpy().reshape(50, 7)
        assert np.mean(theirs <= policy.q_value(ROWS, action)) > 0.6


def test_a_rollout_is_the_policys(exported, model, policy):
    run = directory.open_run(str(exported.run_dir), (), ())

    def act_as(choose):
        def act(rows, step):
            return choose(rows[0], step)[None]

        return rollouts.run_episodes(act, run.info, 1, 2, 5)

    theirs = act_as(lambda rows, step: sample(model, rows, step)["action"])
    ours = act_as(lambda rows, step: policy.select(rows, step).action.numpy())
    assert theirs.lengths.tolist() == [[300, 300]]
    np.testing.assert_array_equal(theirs.returns, ours.returns)
    # Contacts with walls magnify rounding; the maze is 3 m wide.
    np.testing.assert_allclose(theirs.trajectories, ours.trajectories, atol=0.05)


@pytest.fixture(scope="module")
def ensemble(finished, tmp_path_factory):
    """--ensemble --tflite --safe_action: its folder, what it said, and its policy."""
    folder = tmp_path_factory.mktemp("ensemble") / "model"
    flags = ["--ensemble", "--tflite", "--safe_action=0.25,-0.5", "--num_candidates=7"]
    result = exporting.launch(finished[0], folder, *flags, f"--gin_param={FEW_STEPS}")
    tiny_run.check_quiet(result)
    policy = exporting.make_policy(
        finished[0], None, 4, "argmax", [FEW_STEPS], safe_action=SAFE
    )
    return folder, result.stdout, policy


@pytest.mark.slow
def test_an_ensemble_acts_as_all_seeds(ensemble):
    folder, printed, policy = ensemble
    card = exporting.read_card(folder)
    assert (card["seeds"], card["ensemble"]) == ([0, 4], True)
    # Seven candidates of two seeds, rounded up.
    assert card["num_candidates"] == 4
    assert card["scores"]["measured"] is None and "7" in card["scores"]["note"]
    assert "from seeds 0, 4" in printed and "was not evaluated" in printed
    found = sample(tf.saved_model.load(str(folder)), ROWS, SEED)
    ours = policy.select(ROWS, SEED)
    np.testing.assert_allclose(found["action"], ours.action, rtol=0, atol=5e-6)


def test_the_safe_action_answers_a_non_finite_observation(ensemble):
    model = tf.saved_model.load(str(ensemble[0]))
    clean = sample(model, ROWS, SEED)
    others = np.arange(7) != 3
    for value in (np.nan, np.inf):
        found = sample(model, _broken(value), SEED)
        np.testing.assert_array_equal(found["action"][3], SAFE)
        for name in ("action", "q_value", "value"):
            np.testing.assert_array_equal(found[name][others], clean[name][others])
        assert np.isnan(found["q_value"][3]) and np.isnan(found["value"][3])
        by_agents = model.action(exporting.time_step(_broken(value))).action
        np.testing.assert_array_equal(by_agents[3], SAFE)
    assert exporting.read_card(ensemble[0])["non_finite_observation"] == [0.25, -0.5]


def _lite(path_or_bytes):
    if not isinstance(path_or_bytes, bytes):
        path_or_bytes = path_or_bytes.read_bytes()
    interpreter = tf.lite.Interpreter(model_content=path_or_bytes)
    return interpreter.get_signature_runner


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_tflite_model_acts_as_the_policy(ensemble, precision):
    folder, printed, policy = ensemble
    runner = _lite(folder / f"model_{precision}.tflite")
    with_noise, serve = runner("with_noise"), runner("serving_default")
    best_of = tf.function(policy.best_of, autograph=False)
    differences, rng = [], np.random.default_rng(0)
    for row in observations(20):
        noise = rng.normal(size=(2, 2, 4, A)).astype(np.float32)
        found = with_noise(observation=row[None], noise=noise)
        ours = best_of(row[None], noise)
        differences.append(np.abs(found["action"] - ours.action).max())
    # Two candidates of nearly one worth may change places: that is a large difference.
    limit = {"float32": 1e-4, "float16": 0.05}[precision]
    assert np.mean(np.array(differences) < limit) >= 0.95, differences
    # Many coincide: the last step, without noise, starts from clipped actions. Two
    # points take 80 % of the first row's draws, 25 % of this one's.
    draws = np.concatenate([serve(observation=ROWS[2:3])["action"] for _ in range(32)])
    assert len(np.unique(draws, axis=0)) > 2 and (np.abs(draws) <= 1).all()
    checks = exporting.read_card(folder)["parity"][f"tflite_{precision}"]
    assert checks["lost_gain"] < 0.05 and f"checked tflite_{precision}" in printed


@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_tflite_model_answers_a_non_finite_observation(ensemble, precision, value):
    runner = _lite(ensemble[0] / f"model_{precision}.tflite")
    found = runner("serving_default")(observation=_broken(value)[3:4])
    np.testing.assert_array_equal(found["action"], [SAFE])
    assert np.isnan(found["q_value"]).all() and np.isnan(found["value"]).all()


def test_tflite_halves_a_network_in_float16_and_shows_a_nan():
    policy = exporting.small_policy(2)
    single, half = (tflite.convert(policy, float16) for float16 in (False, True))
    assert len(half) < 0.65 * len(single)
    for content in (single, half):
        serve = _lite(content)("serving_default")
        for value in (np.nan, np.inf):
            found = serve(observation=_broken(value)[3:4])
            assert all(np.isnan(numbers).all() for numbers in found.values())
        assert np.isfinite(serve(observation=ROWS[:1])["action"]).all()


def _stored(folder):
    """Shapes of the variables of a SavedModel, counted by dtype."""
    reader = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
    dtypes, found = reader.get_variable_to_dtype_map(), {}
    for name, shape in reader.get_variable_to_shape_map().items():
        found.setdefault(dtypes[name], Counter())[tuple(shape)] += 1
    return found


def test_bfloat16_rounds_the_kernels_and_nothing_else(exported, rounded, policy):
    kernels = [v for v in policy.variables() if v.name.startswith("kernel")]
    shapes = Counter(tuple(v.shape) for v in kernels)
    others = Counter(tuple(v.shape) for v in policy.variables()) - shapes
    single, half = _stored(exported.folder), _stored(rounded.folder)
    assert tf.bfloat16 not in single and single[tf.float32] == shapes + others
    assert half[tf.bfloat16] == shapes and half[tf.float32] == others
    data = "variables/variables.data-00000-of-00001"
    saved = (exported.folder / data).stat().st_size - (
        rounded.folder / data
    ).stat().st_size
    assert saved > 0.4 * sum(4 * v.shape.num_elements() for v in kernels)


def test_the_card_of_a_rounded_model(rounded):
    card = exporting.read_card(rounded.folder)
    assert (card["precision"], card["extraction"]) == ("bfloat16", "implicit")
    assert (card["seeds"], card["num_candidates"]) == ([4], 6)
    assert card["num_diffusion_steps"] == 2
    assert "Behavior.num_diffusion_steps = 2" in card["config"]
    assert card["parity"]["bfloat16"]["observations"] == 256
    assert card["scores"]["measured"] is None
    assert "implicit with 6 candidates was not evaluated" in card["scores"]["note"]
    printed = rounded.result.stdout
    assert "checked bfloat16" in printed and "implicit of 6 candidates" in printed


@pytest.mark.slow
def test_refined_actions_are_worth_more(finished, tmp_path):
    found = {}
    for extraction in "argmax", "cem":
        folder = tmp_path / extraction
        flags = [f"--extraction={extraction}", "--num_candidates=8"]
        few_steps = f"--gin_param={FEW_STEPS}"
        result = exporting.launch(finished[0], folder, *flags, few_steps)
        tiny_run.check_quiet(result)
        model = tf.saved_model.load(str(folder))
        found[extraction] = sample(model, observations(256), SEED)
    # The refinement begins at the best candidate and keeps it where nothing is better.
    gain = found["cem"]["q_value"] - found["argmax"]["q_value"]
    assert (gain >= -1e-4).all() and gain.mean() > 1e-3
    assert (np.abs(found["cem"]["action"]) <= 1.0).all()
