import dataclasses

import pytest

from idql_tf.evaluation.names import label
from idql_tf.evaluation.records import Method, RunFiles


@dataclasses.dataclass
class _Run:
    config: str


GAUSSIAN = "IdqlLearner.behavior = @GaussianBehavior\n"
CATEGORICAL = "IdqlLearner.behavior = @CategoricalBehavior\n"
WEIGHTED = "IdqlLearner.behavior_weight = @ExponentialAdvantage()\n"
PLAIN = "IdqlLearner.behavior = @Behavior\nIdqlLearner.behavior_weight = None\n"


@pytest.mark.parametrize(
    "config, number, expected",
    [
        ("", 64, "IDQL (N = 64)"),
        (PLAIN + "train.best_fraction = 1.0\n", 1, "Behaviour cloning (N = 1)"),
        (GAUSSIAN + WEIGHTED, 1, "IQL (N = 1)"),
        (GAUSSIAN + WEIGHTED, 4, "IQL, resampled (N = 4)"),
        (GAUSSIAN + WEIGHTED + "Critic.objective = @Exponential()\n", 1, "EQL (N = 1)"),
        (GAUSSIAN, 1, "Gaussian cloning (N = 1)"),
        (GAUSSIAN, 64, "Gaussian cloning, resampled (N = 64)"),
        (CATEGORICAL, 1, "Behaviour cloning (N = 1)"),
        (CATEGORICAL, 64, "Discrete IDQL (N = 64)"),
        (CATEGORICAL + WEIGHTED, 1, "IQL (N = 1)"),
        (WEIGHTED, 1, "Weighted diffusion (N = 1)"),
        ("train.best_fraction = 0.1\n", 1, "Behaviour cloning, filtered data (N = 1)"),
    ],
)
def test_a_method_is_named_by_what_it_is(config, number, expected):
    run: RunFiles = _Run(config)
    assert label(run, Method("argmax", number)) == expected


def test_another_choice_is_named():
    assert label(_Run(""), Method("softmax", 8)) == "IDQL (N = 8, softmax)"
