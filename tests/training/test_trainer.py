import dataclasses

import keras
import numpy as np
import pytest

from resnext.pretrained import from_pretrained
from resnext.results import best_epoch, read_history
from tests.helpers.photographs import paint
from tests.helpers.training import RECIPE
from training.data import find_images
from training.fit import fit
from training.pipeline import validation_batches


@pytest.mark.slow
@pytest.mark.parametrize("labels", ["categorical", "binary"])
def test_the_validation_loss_is_plain_cross_entropy(tmp_path, labels):
    classes = {"blue": (40, 60, 200), "red": (200, 50, 40)}
    data = find_images(paint(tmp_path / "data", classes))
    recipe = dataclasses.replace(RECIPE, labels=labels, label_smoothing=0.3, mixup=0.0, cutmix=0.0)
    output = fit(data, tmp_path / "out", recipe, report=lambda line: None)
    model = from_pretrained(output)
    batches = validation_batches(
        data.splits["val"],
        2,
        dataclasses.replace(recipe, labels="int", label_smoothing=0.0),
        model.resnext_config.preprocessing,
    )
    images, true = (np.concatenate(parts) for parts in zip(*((x.numpy(), y.numpy()) for x, y in batches)))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(true, model(images))
    # The stored weights are float16.
    assert float(loss) == pytest.approx(best_epoch(read_history(output))["val_loss"], rel=0.02)
