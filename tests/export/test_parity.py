"""The comparison of a SavedModel with its policy notices what it should."""

import exporting
import pytest

from idql_tf.export import parity, saved_model

INPUTS = exporting.observations(256)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    policy = exporting.small_policy(64)
    folder = tmp_path_factory.mktemp("parity") / "model"
    saved_model.write(policy, folder)
    return policy, folder


def test_the_model_is_the_policy(saved):
    found = parity.of_saved_model(*saved, INPUTS)
    assert found["largest_action_difference"] <= 1e-5 and found["ties"] == 0


@pytest.mark.parametrize("part", [0, 1, 2])
def test_other_weights_are_noticed(saved, part):
    """Of the behaviour model, or of Q; V alone changes no choice."""
    policy, folder = saved
    candidates = [v for v in policy.variables() if "kernel" in v.name]
    variable = candidates[[0, 2, -1][part]]
    before = variable.numpy()
    variable.assign(-before)
    with pytest.raises(parity.ParityError, match="actions differ from the policy's"):
        parity.of_saved_model(policy, folder, INPUTS)
    variable.assign(before)


def test_either_of_two_candidates_that_tie_may_be_taken(tmp_path):
    """The model finds all equal and takes the first; the policy sees 1e-6 between."""
    policy = exporting.small_policy(64)
    last = next(v for v in policy.variables() if v.shape == [1, 2, 256, 1])
    kernel = last.numpy()
    last.assign(0.0 * kernel)
    saved_model.write(policy, tmp_path / "model")
    last.assign(1e-6 * kernel)
    found = parity.of_saved_model(policy, tmp_path / "model", INPUTS)
    assert found["ties"] > 100 and found["largest_action_difference"] <= 1e-5
