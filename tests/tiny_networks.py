"""A score network as the paper's, small enough for seconds."""

import functools

from idql_tf.behavior.networks import LnResnet

RESNET = functools.partial(
    LnResnet,
    hidden_dim=8,
    num_blocks=2,
    time_dim=4,
    condition_dims=(8, 8),
    activation="mish",
    dropout_rate=0.1,
    layer_norm=True,
)
