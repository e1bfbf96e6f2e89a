"""Floating point operations of updates and extraction, counted from layer sizes.

Only matrix products count, 2 m k n each, as the code executes them: features of
the diffusion step are computed for T rows, not for every sample, and gradients
only where one is taken. The data are constants, so a first layer has a weight
gradient but no input gradient.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import tensorflow as tf

from idql_tf.behavior.networks import ScoreNetwork
from idql_tf.behavior.updates import Behavior
from idql_tf.critic.updates import Critic
from idql_tf.nn.dense import StackedDense


class Layer(NamedTuple):
    """The products of one dense layer in one update or one policy call.

    Attributes:
      rows: m, rows of the input.
      n_in: k, columns of the input.
      n_out: n, columns of the output.
      copies: independent weights: members of the stack times Q functions.
      weight_gradient: input^T [k, m] times output gradient [m, n] is computed.
      input_gradient: output gradient [m, n] times weights^T [n, k] is computed.
      repeats: times the layer runs with the same weights (the reverse chain).
    """

    rows: int
    n_in: int
    n_out: int
    copies: int = 1
    weight_gradient: bool = False
    input_gradient: bool = False
    repeats: int = 1

    @property
    def flops(self) -> int:
        """Operations of all products, all copies and all repeats."""
        products = 1 + self.weight_gradient + self.input_gradient
        size = 2 * self.rows * self.n_in * self.n_out
        return size * products * self.copies * self.repeats


def total(layers: Iterable[Layer]) -> int:
    """Returns the operations of all layers."""
    return sum(layer.flops for layer in layers)


def behavior_update(behavior: Behavior, batch_size: int) -> list[Layer]:
    """Products of one behaviour update of every member of the stack."""
    net, num_steps = behavior.network, behavior.coefficients.num_steps
    # The first product takes the steps' shares as rows of its kernel.
    joined = net.first.kernel.shape[-2] - _condition_size(net) + num_steps
    # The Fourier frequencies are trained: the gradient goes through every product.
    layers = _step_features(net, num_steps, trained=True)
    layers.append(_trained(net.first.kernel, batch_size, False, joined))
    return layers + [_trained(d.kernel, batch_size) for d in _trunk(net)]


def critic_update(critic: Critic, batch_size: int) -> list[Layer]:
    """Products of one V step and one Q step of every member of the stack.

    Networks that are trained and those that are not take turns: by that
    `measure.products` tells one from the next.
    """
    value, q = critic.value.layers_, critic.q.layers_
    scaled = len(critic.value.trainable_variables) > 2 * len(value)
    return [
        *(_forward(d.kernel, batch_size) for d in critic.target_q.layers_),
        *(_trained(d.kernel, batch_size, i > 0 or scaled) for i, d in enumerate(value)),
        *(_forward(d.kernel, batch_size) for d in value),
        *(_trained(d.kernel, batch_size, i > 0) for i, d in enumerate(q)),
    ]


def extraction(
    behavior: Behavior, critic: Critic, batch_size: int, num_candidates: int
) -> list[Layer]:
    """Products of one argmax policy call; V is not needed and not computed."""
    net, num_steps = behavior.average, behavior.coefficients.num_steps
    rows, action_size = batch_size * num_candidates, behavior.action_size
    observation_size = net.first.kernel.shape[-2] - action_size - _condition_size(net)
    first_q, *later_q = (d.kernel for d in critic.target_q.layers_)
    return [
        *_step_features(net, num_steps, trained=False),
        _forward(net.first.kernel, batch_size, observation_size),
        _forward(net.first.kernel, rows, action_size, num_steps),
        *(_forward(d.kernel, rows, repeats=num_steps) for d in _trunk(net)),
        _forward(first_q, batch_size, observation_size),
        _forward(first_q, rows, action_size),
        *(_forward(kernel, rows) for kernel in later_q),
    ]


def _step_features(net: ScoreNetwork, num_steps: int, trained: bool) -> list[Layer]:
    make = _trained if trained else _forward
    layers = [make(d.kernel, num_steps) for d in net.condition]
    share = make(net.first.kernel, num_steps)._replace(n_in=_condition_size(net))
    return [*layers, share]


def _condition_size(net: ScoreNetwork) -> int:
    return net.condition[-1].kernel.shape[-1]


def _trunk(net: ScoreNetwork) -> list[StackedDense]:
    outside = {id(layer) for layer in (*net.condition, net.first)}
    dense = [m for m in net.submodules if isinstance(m, StackedDense)]
    return [layer for layer in dense if id(layer) not in outside]


def _forward(
    kernel: tf.Variable, rows: int, n_in: int | None = None, repeats: int = 1
) -> Layer:
    *stack, size, n_out = kernel.shape.as_list()
    columns = size if n_in is None else n_in
    return Layer(rows, columns, n_out, math.prod(stack), repeats=repeats)


def _trained(
    kernel: tf.Variable,
    rows: int,
    input_gradient: bool = True,
    n_in: int | None = None,
) -> Layer:
    return _forward(kernel, rows, n_in)._replace(
        weight_gradient=True, input_gradient=input_gradient
    )
