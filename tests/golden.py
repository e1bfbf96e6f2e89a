"""The deterministic fill and inputs of the golden numbers (REFERENCE 15)."""

import math

import numpy as np


def fill(variable, kind):
    size = int(np.prod(variable.shape))
    i = np.arange(size, dtype=np.int64)
    u = 2.0 * ((7919 * i + 104729) % 10007) / 10007.0 - 1.0
    scale, shift = {
        "kernel": (1.5 / math.sqrt(variable.shape[-2]), 0.0),
        "frequencies": (0.2, 0.0),
        "bias": (0.1, 0.0),
        "norm_scale": (0.1, 1.0),
    }[kind]
    value = (shift + scale * u).reshape(variable.shape)
    variable.assign(value.astype(np.float32))


def fill_network(network):
    for variable in network.trainable_variables:
        name = variable.name
        if "frequencies" in name:
            fill(variable, "frequencies")
        elif "kernel" in name:
            fill(variable, "kernel")
        elif "scale" in name:
            fill(variable, "norm_scale")
        else:
            fill(variable, "bias")


OBSERVATIONS = np.cos(0.5 * np.arange(22)).reshape(1, 2, 11).astype(np.float32)
ACTIONS = np.sin(0.9 * np.arange(6)).reshape(1, 2, 3).astype(np.float32)
