import numpy as np
import pytest
import tensorflow as tf

from idql_tf.nn import dense, fused


def products_of(function):
    """Kind and result of every product in a function's graph, in order."""
    graph = tf.function(function, autograph=False).get_concrete_function().graph
    return [
        (op.type, tuple(op.outputs[0].shape[-2:]))
        for op in graph.get_operations()
        if "MatMul" in op.type
    ]


def trained(x, kernel, bias, upstream):
    with tf.GradientTape() as tape:
        tape.watch([x, kernel, bias])
        y = dense.affine(x, kernel, bias)
    return y, *tape.gradient(y, [x, kernel, bias], upstream)


def normal(*shape):
    rng = np.random.default_rng(sum(shape))
    return tf.constant(rng.standard_normal(shape), tf.float32)


@pytest.mark.parametrize("stack", [(), (1,), (2,)])
@pytest.mark.parametrize("sizes", [(32, 1024), (1024, 32), (3, 5)])
def test_affine_and_its_gradients_are_numpys(stack, sizes):
    n_in, units = sizes
    x, upstream = normal(*stack, 7, n_in), normal(*stack, 7, units)
    kernel, bias = normal(*stack, n_in, units), normal(*stack, units)
    expected = (
        x.numpy().astype(float) @ kernel.numpy() + bias.numpy()[..., None, :],
        upstream.numpy().astype(float) @ np.swapaxes(kernel.numpy(), -1, -2),
        np.swapaxes(x.numpy().astype(float), -1, -2) @ upstream.numpy(),
        upstream.numpy().astype(float).sum(-2),
    )
    for found, wanted in zip(trained(x, kernel, bias, upstream), expected, strict=True):
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-6 * n_in**0.5 * 30)


@pytest.mark.skipif(dense.on_gpu(), reason="of two programs that a CPU has")
@pytest.mark.parametrize("trains", [True, False])
@pytest.mark.parametrize("sizes", [(32, 1024), (1024, 32), (32, 512)])
def test_a_narrow_result_of_a_wide_kernel_is_multiplied_as_a_batch(sizes, trains):
    n_in, units = sizes
    x, upstream = normal(7, n_in), normal(7, units)
    kernel, bias = normal(n_in, units), normal(units)
    if trains:
        found = products_of(lambda: trained(x, kernel, bias, upstream))
        results = {(7, units), (7, n_in), (n_in, units)}
    else:
        with fused.without_xla():
            found = products_of(lambda: dense.affine(x, kernel, bias))
        results = {(7, units)}
    narrow = {
        (32, 1024): {(7, 32)},
        (1024, 32): {(7, 32), (1024, 32)},
        (32, 512): set(),
    }[sizes]
    assert {shape for _, shape in found} == results
    for kind, shape in found:
        batched = trains and shape in narrow
        assert kind == ("BatchMatMulV2" if batched else "MatMul")


def test_an_unstacked_layer_trains_its_variables():
    layer = dense.StackedDense(32, 1024, (0,), ())
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(layer(normal(7, 32)))
    for gradient in tape.gradient(y, layer.trainable_variables):
        assert float(tf.reduce_max(tf.abs(gradient))) > 0
