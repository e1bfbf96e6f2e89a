import inspect
import pathlib
import types

import gin
import pytest
import tiny_learner
from paths import REPOSITORY

from idql_tf import config, extraction, refinement
from idql_tf.behavior import schedules
from idql_tf.behavior.categorical import CategoricalBehavior
from idql_tf.behavior.gaussian import GaussianBehavior
from idql_tf.behavior.networks import LnResnet, Mlp
from idql_tf.behavior.updates import Behavior
from idql_tf.critic.advantages import (
    ExponentialAdvantage,
    HardAdvantage,
    SoftAdvantage,
)
from idql_tf.critic.objectives import Expectile, Exponential, Quantile
from idql_tf.critic.schedules import AdaptiveSchedule, CosineSchedule, LinearSchedule
from idql_tf.critic.updates import Critic
from idql_tf.errors import UserError
from idql_tf.experiments import figure1, figure2, figure3  # noqa: F401
from idql_tf.online import settings as finetune
from idql_tf.runs import jobs
from idql_tf.runs.directory import Run
from idql_tf.runs.evaluation import Evaluator
from idql_tf.training import offline
from idql_tf.training.divergence import Guard
from idql_tf.training.learner import IdqlLearner

FILES = sorted(str(p.relative_to(REPOSITORY)) for p in REPOSITORY.glob("gin/**/*.gin"))
LEARNER = types.SimpleNamespace(behavior=Behavior)
RUN = Run(pathlib.Path("unused"), None, None, (0,))
SMALL = (
    "LnResnet.hidden_dim = 16",
    "Critic.hidden_dims = (16, 16)",
    "IdqlLearner.critic_batch_size = 8",
    "IdqlLearner.behavior_batch_size = 8",
)


@pytest.fixture(autouse=True)
def _clear():
    yield
    gin.clear_config()


@pytest.mark.parametrize("name", FILES)
def test_every_file_parses(name):
    config.load([name], SMALL)
    assert offline.Settings().critic_steps >= 15_000
    IdqlLearner(5, 2, (0,))


# Compiling takes seconds: with the fast tests one file of each kind.
KINDS = ("base", "tasks/discrete", "baselines/iql", "protocols/released_head")


@pytest.mark.parametrize(
    "name",
    [
        name
        if name in {f"gin/{kind}.gin" for kind in KINDS}
        else pytest.param(name, marks=pytest.mark.slow)
        for name in FILES
    ],
)
def test_every_file_trains(name):
    config.load([name], SMALL)
    learner = IdqlLearner(5, 2, (0,))
    metrics = learner.train(tiny_learner.arrays(), 3, 3)
    assert all(abs(float(v[0])) < 1e3 for v in metrics.values())


def test_base_binds_every_parameter_it_can():
    """No number of the method is left to a default in Python."""
    config.load([])
    text = config.current()
    networks = {"observation_size", "action_size", "seeds", "stacked"}
    names = {
        offline.Settings: "train",
        Evaluator: "evaluate",
        finetune.Settings: "finetune",
        extraction.configured_temperature: "extract",
        Guard: "divergence",
        refinement.Settings: "refine",
    }
    given = {
        **dict.fromkeys((Critic, Behavior, LnResnet, Mlp, IdqlLearner), networks),
        **dict.fromkeys((GaussianBehavior, CategoricalBehavior), networks),
        **dict.fromkeys((Expectile, Quantile, Exponential, offline.Settings), set()),
        **dict.fromkeys((ExponentialAdvantage, SoftAdvantage, HardAdvantage), set()),
        **dict.fromkeys((schedules.vp, schedules.cosine), {"num_steps"}),
        schedules.linear: {"num_steps"},
        Evaluator: {"run", "learner", "console", "stop", "phase"},
        finetune.Settings: set(),
        Guard: {"path", "learner", "drawn", "rewards"},
        extraction.configured_temperature: set(),
        refinement.Settings: set(),
        **dict.fromkeys((LinearSchedule, CosineSchedule, AdaptiveSchedule), set()),
    }
    for configurable, passed in given.items():
        name = names.get(configurable, configurable.__name__)
        parameters = set(inspect.signature(configurable).parameters)
        assert passed - {"stacked"} <= parameters and parameters - passed, name
        for parameter in parameters - passed:
            assert f"\n{name}.{parameter} =" in text, f"{name}.{parameter}"


def _budget(*files):
    config.load(files)
    return offline.Settings()


def test_paper_protocols_hold_the_paper_numbers():
    settings = _budget("gin/tasks/locomotion.gin", "gin/protocols/paper_a.gin")
    assert (settings.critic_steps, settings.behavior_steps) == (1_500_000, 3_000_000)
    assert settings.reward_rule == "locomotion_return_scale"
    settings = _budget("gin/protocols/paper_1.gin", "gin/tasks/antmaze.gin")
    assert (settings.critic_steps, settings.behavior_steps) == (1_000_000, 2_000_000)
    assert settings.reward_rule == "antmaze_minus_one"
    assert gin.query_parameter("Expectile.tau") == 0.9


def test_the_released_protocol_overrides_the_task():
    settings = _budget("gin/tasks/antmaze.gin", "gin/protocols/released_m23.gin")
    assert (settings.critic_steps, settings.behavior_steps) == (1_500_000, 3_000_000)
    assert settings.episodes == 50
    assert ExponentialAdvantage().temperature == 3.0
    assert finetune.Settings().num_candidates == 128
    evaluated = Evaluator(RUN, LEARNER, None, None).methods
    assert [n for rule, n in evaluated if rule == "argmax"] == [16, 32, 64, 128, 256, 1]
    assert gin.query_parameter("Expectile.tau") == 0.9


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("task, candidates", [("locomotion", 128), ("antmaze", 32)])
def test_paper_a_takes_its_candidates_from_the_task(task, candidates, order):
    files = [f"gin/tasks/{task}.gin", "gin/protocols/paper_a.gin"][::order]
    config.load(files)
    evaluator = Evaluator(RUN, LEARNER, None, None)
    assert evaluator.methods == [("argmax", candidates), ("argmax", 1)]


def test_objectives_can_be_chosen():
    config.load([], ["Critic.objective = @Exponential()", *SMALL])
    learner = IdqlLearner(5, 2, (0,))
    assert learner.critic.objective == Exponential(1.0, 6.0)


@pytest.mark.parametrize(
    "param, message",
    [
        ("Expectil.tau = 0.9", "No configurable matching 'Expectil'"),
        ("Expectile.tua = 0.9", "tua"),
        ("Expectile.tau 0.9", "--gin_param"),
        ("train.criticsteps = 5", "criticsteps"),
        ("import os", "not allowed"),
        ("import \\\n os", "not allowed"),
        ("from \\\n os import path", "not allowed"),
        ("include '/etc/passwd'", "not allowed"),
        ("CRITIC_STEPS = @gin.singleton()", "gin.singleton belongs to another"),
        ("Critic.objective = [{'a': @a/gin.macro}]", "belongs to another package"),
        ("CRITIC_STEPS = " + "9" * 5_000, "--gin_param"),
        ("CRITIC_STEPS = __import__('os')", "--gin_param"),
        ("CRITC_STEPS = 10", "nothing uses CRITC_STEPS; did you mean CRITIC_STEPS?"),
        ("figrue4/study.on = ('a',)", "nothing opens figrue4/ for study; .* figure4/"),
        ("wide/LnResnet.hidden_dim = 8", "nothing opens wide/"),
        ("figure4/Expectile.tau = 0.9", "nothing opens figure4/ for Expectile"),
        ("macro.value = 3", "macro belongs to another package"),
        ("CRITIC_STEPS = %CRITC_STEPS", "gives %CRITC_STEPS a .* %CRITIC_STEPS"),
        ("LnResnet.activation = swish", "needs quotes: 'swish'"),
        ("LnResnet.stacked = False", "stacked"),
        ("LnResnet/Critic.discount = 0.5", "nothing opens LnResnet/"),
        ("CRITIC_STEPS/Critic.discount = 0.5", "nothing opens CRITIC_STEPS/"),
    ],
)
def test_mistakes_are_refused_in_one_line(param, message):
    with pytest.raises(UserError, match=message):
        config.load([], [param])


def test_macros_and_scopes_that_something_uses_are_taken():
    config.load([], ["Critic.discount = %mine", "mine = 0.9"])
    assert gin.query_parameter("Critic.discount") is not None
    config.load([], ["Behavior.network = @a/LnResnet", "a/LnResnet.hidden_dim = 8"])
    config.load([], ["figure4/study.on = ('hopper',)"])
    # A run's own configuration may have what was needed before its values changed.
    config.load_text(config.BASE.read_text() + "OLD = 3\n", "config.gin", [], ["OLD=4"])


@pytest.mark.slow
def test_functions_of_other_packages_are_not_called():
    """TF-Agents registers one that imports any module by name."""
    from tf_agents.environments import suite_gym  # noqa: F401

    binding = "suite_gym.load.environment_name = 'antigravity:x'"
    with pytest.raises(UserError, match="suite_gym.load belongs to another package"):
        config.load([], [binding, "CRITIC_STEPS = @suite_gym.load()"])


def test_a_programs_own_configurables_are_taken():
    """As of docs/examples/train_with_tf_agents.py."""

    def own_program(steps):
        return steps

    own_program.__module__ = "__main__"
    own_program = gin.external_configurable(own_program)
    config.load([], ["own_program.steps = 3"])
    assert own_program() == 3


@pytest.mark.parametrize(
    "param",
    ["CRITIC_STEPS = %CRITIC_STEPS", "CRITIC_STEPS = @train()"],
)
def test_values_that_need_themselves(param):
    config.load([], [param])
    with pytest.raises(UserError):
        jobs.configured(offline.Settings)


def test_a_missing_file_is_named():
    with pytest.raises(UserError, match="gin/tasks/humanoid.gin not found"):
        config.load(["gin/tasks/humanoid.gin"])


def test_configuration_text_round_trips():
    config.load(["gin/tasks/antmaze.gin"], ["Expectile.tau = 0.85"])
    text = config.current()
    config.load_text(text, "config.gin")
    assert config.current() == text
