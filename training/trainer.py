"""The Keras model that is trained: the network, with its batches augmented on the device that computes it."""

import keras
import tensorflow as tf

from .augmentation import augment
from .recipe import Recipe


class AugmentingModel(keras.Model):
    """A functional model whose training step augments the batch first.

    It trains on batches of images, labels and the draws of `augmentation.draw`, as `pipeline.training_batches` gives
    them, and validates on images and labels alone.
    """

    recipe: Recipe

    @classmethod
    def of(cls, network: keras.Model, recipe: Recipe) -> "AugmentingModel":
        """The same layers and weights as `network`, trained by `recipe`."""
        model = cls(network.inputs, network.outputs[0], name=network.name)
        model.recipe = recipe
        return model

    def train_step(self, data):
        images, labels, draws = data
        return super().train_step(augment(self.recipe, images, labels, draws))
