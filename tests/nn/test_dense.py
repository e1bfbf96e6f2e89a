import numpy as np
import pytest
import tensorflow as tf

from idql_tf.nn import dense, fused


def products_of(function):
    """Kind and result of every product in a function's graph."""
    graph = tf.function(function, autograph=False).get_concrete_function().graph
    return {
        (op.type, tuple(op.outputs[0].shape[-2:]))
        for op in graph.get_operations()
        if "MatMul" in op.type
    }


def trained(x, kernel, bias, upstream):
    with tf.GradientTape() as tape:
        tape.watch([x, kernel, bias])
        y = dense.affine(x, kernel, bias)
    return y, *tape.gradient(y, [x, kernel, bias], upstream)


def normal(*shape):
    rng = np.random.default_rng(sum(shape))
    return tf.constant(rng.standard_normal(shape), tf.float32)


def exactly(x, kernel, bias, upstream):
    """What `trained` returns, in float64."""
    dx = upstream @ np.swapaxes(kernel, -1, -2)
    return (
        x @ kernel + bias[..., None, :],
        dx if dx.shape == x.shape else dx.sum(1, keepdims=True),
        np.swapaxes(x, -1, -2) @ upstream,
        upstream.sum(-2),
    )


@pytest.mark.parametrize("in_graph", [True, False])
@pytest.mark.parametrize("stack", [(), (1,), (2,), (2, 2)])
@pytest.mark.parametrize(
    "sizes", [(7, 32, 1024), (7, 1024, 32), (1, 1024, 1), (1, 1, 1024), (7, 3, 5)]
)
def test_affine_and_its_gradients_are_numpys(stack, sizes, in_graph):
    rows, n_in, units = sizes
    # Q's twins share their rows.
    of_x = (2, 1) if stack == (2, 2) else stack
    given = (
        normal(*of_x, rows, n_in),
        normal(*stack, n_in, units),
        normal(*stack, units),
        normal(*stack, rows, units),
    )
    arrays = [np.asarray(tensor, np.float64) for tensor in given]
    # A sum is off by some rounding errors of what was summed, whatever its value.
    most = [1e-6 * sums for sums in exactly(*map(np.abs, arrays))]
    run = tf.function(trained, autograph=False) if in_graph else trained
    for found, wanted, off in zip(run(*given), exactly(*arrays), most, strict=True):
        assert found.shape == wanted.shape
        assert (np.abs(found - wanted) <= off).all()


@pytest.mark.skipif(dense.on_gpu(), reason="of the two programs that a CPU has")
@pytest.mark.parametrize(
    ("n_in", "units", "batched"),
    [
        (32, 1024, {(7, 32)}),
        (1024, 32, {(7, 32), (1024, 32)}),
        (32, 1023, set()),
    ],
)
def test_the_narrow_end_of_a_wide_layer_is_multiplied_as_a_batch(n_in, units, batched):
    x, upstream = normal(7, n_in), normal(7, units)
    kernel, bias = normal(n_in, units), normal(units)
    found = products_of(lambda: trained(x, kernel, bias, upstream))
    every = {(7, units), (7, n_in), (n_in, units)}
    kinds = {True: "BatchMatMulV2", False: "MatMul"}
    assert found == {(kinds[shape in batched], shape) for shape in every}
    with fused.without_xla():
        found = products_of(lambda: dense.affine(x, kernel, bias))
    assert found == {("MatMul", (7, units))}


def test_wide_layers_that_have_no_bias_or_are_rounded():
    x, kernel = normal(7, 1024), normal(1024, 32)
    expected = x.numpy() @ kernel.numpy()
    np.testing.assert_allclose(dense.affine(x, kernel, None), expected, atol=1e-3)
    rounded, none = tf.cast(kernel, tf.bfloat16), tf.zeros(32)
    found = dense.affine(x, rounded, none)
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())


def test_an_unstacked_layer_trains_its_variables():
    layer = dense.StackedDense(32, 1024, (0,), ())
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(layer(normal(7, 32)))
    for gradient in tape.gradient(y, layer.trainable_variables):
        assert float(tf.reduce_max(tf.abs(gradient))) > 0
