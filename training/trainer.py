"""The Keras model that is trained: the network, with batches augmented on the device that computes it."""

from collections.abc import Callable

import keras
import tensorflow as tf

from resnext.config import ModelConfig

from .augmentation import augment
from .recipe import Recipe


class AugmentingModel(keras.Model):
    """A functional model whose training step augments the batch first.

    It trains on batches of images, labels and draws, as `pipeline.training_batches` makes them, and
    validates on batches of images and labels.
    """

    recipe: Recipe
    resnext_config: ModelConfig
    validation_loss: Callable

    @classmethod
    def wrap(cls, network: keras.Model, recipe: Recipe, validation_loss: Callable) -> "AugmentingModel":
        """Makes a model of the layers and weights of a network.

        Args:
            network: The network.
            recipe: The recipe that it is trained by.
            validation_loss: The loss of labels and logits in validation. It has no label smoothing, so that
                weights are chosen by the loss that the test set is measured by.
        """
        model = cls(network.inputs, network.outputs[0], name=network.name)
        model.recipe = recipe
        model.resnext_config = network.resnext_config
        model.validation_loss = validation_loss
        return model

    def build_metrics(self, num_classes: int) -> None:
        """Builds loss and metrics, which Keras would otherwise do with the draws as sample weights."""
        size = self.recipe.image_size
        shapes = {"int": (), "categorical": (num_classes,), "binary": (1,)}
        labels = tf.zeros((self.recipe.batch_size, *shapes[self.recipe.labels]))
        self.test_on_batch(tf.zeros((self.recipe.batch_size, size, size, 3)), labels)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        if training:
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        return self.validation_loss(y, y_pred)

    def train_step(self, data):
        images, labels, draws = data
        return super().train_step(augment(self.recipe, images, labels, draws))
