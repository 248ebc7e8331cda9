"""Small model repositories of random weights."""

import numpy as np

from resnext.shapes import tensor_shapes


def random_tensors(architecture, num_classes, seed=0):
    """float32 weights under timm's keys, with batch norm statistics that do something."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for key, shape in tensor_shapes(architecture, num_classes).items():
        if key.endswith("running_var"):
            value = rng.uniform(0.5, 1.5, shape)
        elif len(shape) == 1:
            value = rng.normal(1.0 if key.endswith("weight") else 0.0, 0.1, shape)
        else:
            value = rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape)
        tensors[key] = value.astype(np.float32)
    return tensors
