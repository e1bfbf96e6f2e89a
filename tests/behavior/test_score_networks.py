import contextlib

import golden
import numpy as np
import pytest
import tensorflow as tf

from idql_tf.behavior.networks import LnResnet, Mlp
from idql_tf.nn import dense, fused, randomness

PAPER = {
    "hidden_dim": 256,
    "num_blocks": 3,
    "time_dim": 64,
    "condition_dims": (128, 128),
    "activation": "mish",
    "dropout_rate": 0.1,
    "layer_norm": True,
}
HEAD = PAPER | {"time_dim": 128, "condition_dims": (256, 256), "activation": "swish"}

SCORES = {
    "paper": {
        0: [[0.1045580, 0.0898535, -0.0718283], [0.3240162, 0.0127974, -0.3634053]],
        2: [[-0.5080563, -0.1077949, -0.2904251], [-0.3015523, 0.3340567, -0.4404704]],
        4: [[-0.3491158, 0.6310314, -2.0334618], [-0.0178002, 0.3033813, -2.4331804]],
    },
    "head": {
        0: [[0.3260848, 0.0582860, -0.2567423], [0.4389703, 0.0532118, -0.3883027]],
        2: [[0.3199226, -0.0414299, -0.3113855], [0.3706202, -0.0380443, -0.4035931]],
        4: [[-0.0106381, 0.2125053, 0.0272229], [0.1575475, 0.1797034, -0.1498055]],
    },
}


@pytest.mark.parametrize("preset, sizes", [("paper", PAPER), ("head", HEAD)])
def test_golden_scores(preset, sizes):
    network = LnResnet(11, 3, (0,), **sizes)
    golden.fill_network(network)
    for t, expected in SCORES[preset].items():
        steps = tf.fill([1, 2], t)
        actual = network(golden.ACTIONS, golden.OBSERVATIONS, steps, 5)
        np.testing.assert_allclose(actual[0], expected, atol=1e-5)


@pytest.mark.parametrize(
    "network, sizes, observation, action, count",
    [
        (LnResnet, PAPER, 11, 3, 1_640_483),
        (LnResnet, PAPER, 17, 6, 1_643_558),
        (LnResnet, PAPER, 27, 8, 1_647_144),
        (LnResnet, PAPER, 29, 8, 1_647_656),
        (LnResnet, HEAD, 11, 3, 1_747_267),
        (LnResnet, HEAD, 17, 6, 1_750_342),
        (LnResnet, HEAD, 29, 8, 1_754_440),
    ],
)
def test_parameter_counts(network, sizes, observation, action, count):
    assert dense.num_parameters(network(observation, action, (0,), **sizes)) == count


@pytest.mark.parametrize(
    "observation, action, count", [(11, 3, 193_827), (17, 6, 196_902), (29, 8, 201_000)]
)
def test_mlp_parameter_counts(observation, action, count):
    network = Mlp(observation, action, (0,), 256, 3, 64, (128, 128), "mish")
    assert dense.num_parameters(network) == count


def test_shares_of_the_first_layer_add_up_to_the_joint_network():
    network = LnResnet(11, 3, (4, 9), **PAPER)
    rng = np.random.default_rng(0)
    observations = rng.normal(size=(2, 6, 11)).astype(np.float32)
    actions = rng.normal(size=(2, 6, 3)).astype(np.float32)
    steps = rng.integers(0, 5, (2, 6))
    shares = tf.gather(network.step_features(tf.range(5)), steps, axis=1, batch_dims=1)
    features = network.action_features(actions) + shares
    features += network.observation_features(observations)
    np.testing.assert_allclose(
        network.trunk(features),
        network(actions, observations, steps, 5),
        atol=5e-6,
    )


def test_members_start_as_they_would_alone_and_differ():
    stack = LnResnet(5, 2, (3, 7), **PAPER)
    for i, seed in enumerate((3, 7)):
        alone = LnResnet(5, 2, (seed,), **PAPER)
        for many, one in zip(stack.variables, alone.variables, strict=True):
            np.testing.assert_array_equal(many[i], one[0])
    assert not np.allclose(stack.first.kernel[0], stack.first.kernel[1])


def test_initial_spread_follows_the_fan_of_one_member():
    network = LnResnet(5, 2, (0, 1, 2), **PAPER)
    _, up, down = network.blocks[0]
    assert np.std(up.kernel) == pytest.approx(1 / np.sqrt(256), rel=0.01)
    assert np.std(down.kernel) == pytest.approx(1 / np.sqrt(1024), rel=0.01)
    assert np.abs(network.output_layer.kernel).max() <= np.sqrt(6 / (256 + 2))
    assert np.std(network.frequencies) == pytest.approx(0.2, rel=0.2)


def test_unstacked_network_equals_a_stack_of_one():
    stacked = LnResnet(11, 3, (0,), **PAPER)
    plain = LnResnet(11, 3, (0,), **PAPER, stacked=False)
    for variable, other in zip(plain.variables, stacked.variables, strict=True):
        variable.assign(other[0])
    steps = tf.constant([1, 3])
    expected = stacked(golden.ACTIONS, golden.OBSERVATIONS, steps[None], 5)
    actual = plain(golden.ACTIONS[0], golden.OBSERVATIONS[0], steps, 5)
    np.testing.assert_allclose(actual, expected[0], atol=1e-6)


def test_dropout_zeroes_the_rate_and_keeps_the_mean():
    network = LnResnet(11, 3, (0,), **PAPER)
    assert network.num_dropouts == 3
    x = tf.ones([1, 400, 256])
    draws = randomness.short_bits(tf.constant([[0, 1]], tf.int64), [400, 256])
    for rate in (0.1, 0.5, 0.9):
        dropped = fused.dropout(x, draws, tf.constant(rate)).numpy()
        assert np.mean(dropped == 0) == pytest.approx(rate, abs=0.01)
        np.testing.assert_allclose(dropped[dropped > 0], 1 / (1 - rate), rtol=1e-5)
    assert (fused.dropout(x, draws, tf.constant(0.0)) == x).numpy().all()


@pytest.mark.parametrize(
    "function, reference",
    [
        (fused.mish, lambda x: x * tf.tanh(tf.nn.softplus(x))),
        (fused.swish, tf.nn.silu),
    ],
)
def test_fused_activations_and_their_gradients(function, reference):
    x = tf.constant(np.linspace(-30, 30, 2001), tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        ours, theirs = function(x), reference(x)
    np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=1e-6)
    np.testing.assert_allclose(
        tape.gradient(ours, x), tape.gradient(theirs, x), rtol=2e-5, atol=2e-6
    )


def test_gradient_of_mish_is_finite_where_a_quotient_is_rounded_up():
    x = np.float32([-20.0, -0.0, 1e-38, 9.0, 20.0])
    upstream = tf.ones(len(x))
    for y in (x * np.tanh(np.log1p(np.exp(x))), np.nextafter(x, np.inf)):
        assert np.isfinite(fused._mish_gradient(x, y, upstream)).all()


@pytest.mark.parametrize("rate", [0.0, 0.3])
@pytest.mark.parametrize("width", [16, 96, 256])
def test_fused_layer_norm_and_its_gradients(width, rate):
    rng = np.random.default_rng(0)
    x, weight = tf.constant(rng.normal(size=(2, 2, 7, width)), tf.float32)
    scale, bias = tf.constant(rng.normal(size=(2, 2, width)), tf.float32)
    draws = tf.constant(rng.integers(-(2**15), 2**15, x.shape), tf.int16)
    kept = draws.numpy() >= (rate - 0.5) * 2**16
    assert kept.all() if rate == 0 else 0.6 < kept.mean() < 0.8

    def ours(x):
        dropout = (draws, tf.constant(rate)) if rate else ()
        return fused.layer_norm(x, scale, bias, *dropout)

    def reference(x):
        dropped = tf.where(kept, x / (1 - rate), 0.0)
        mean, variance = tf.nn.moments(dropped, -1, keepdims=True)
        normed = (dropped - mean) / tf.sqrt(variance + 1e-6)
        return normed * scale[:, None] + bias[:, None], x

    results = []
    for function in (ours, reference):
        with tf.GradientTape() as tape:
            tape.watch([x, scale, bias])
            y, residual = function(x)
            loss = tf.reduce_sum(y * weight) + tf.reduce_sum(residual**2)
        results.append([y, residual, *tape.gradient(loss, [x, scale, bias])])
    for found, expected in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("members", [1, 2, 3])
def test_ordinary_layer_norm_equals_the_fused_one(members, constant):
    rng = np.random.default_rng(members)
    x = tf.constant(rng.normal(3.0, 2.0, (members, 7, 16)), tf.float32)
    weights = [tf.constant(rng.normal(size=(members, 16)), tf.float32) for _ in "sb"]
    inputs = x, 1e-4 * x  # so small that epsilon counts
    # Captured, the weights are constants of the graph.
    graph = tf.function(lambda x: fused.layer_norm(x, *weights)[0], autograph=False)
    weights_are = fused.constant_weights if constant else contextlib.nullcontext
    with fused.without_xla(), weights_are():
        ours = [
            function(i) for function in (graph, graph.python_function) for i in inputs
        ]
    theirs = 2 * [fused.layer_norm(i, *weights)[0] for i in inputs]
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_ordinary_layer_norm_takes_a_dropout_too():
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(size=(1, 7, 16)), tf.float32)
    draws = tf.constant(rng.integers(-(2**15), 2**15, x.shape), tf.int16)
    arguments = x, tf.ones([1, 16]), tf.zeros([1, 16]), draws, tf.constant(0.3)
    with fused.without_xla():
        ordinary, residual = fused.layer_norm(*arguments)
    np.testing.assert_allclose(ordinary, fused.layer_norm(*arguments)[0], atol=1e-5)
    assert residual is x
    assert np.abs(ordinary - fused.layer_norm(*arguments[:3])[0]).max() > 0.1
