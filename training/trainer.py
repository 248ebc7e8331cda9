"""The Keras model that is trained: the network, with batches augmented on the device that computes it."""

import keras
import tensorflow as tf

from resnext.config import ModelConfig

from .augmentation import augment
from .losses import make_accuracy, make_loss, weight_images
from .recipe import Recipe

# The replicas of several devices have the same weights, so one of them updates the averages.
_ONE_REPLICA = tf.VariableAggregation.ONLY_FIRST_REPLICA


class TrainingModel(keras.Model):
    """A functional model whose training step augments the batch first, and averages the weights after it.

    It trains on batches of images, labels and draws, as `pipeline.training_batches` makes them, and
    validates on batches of images, labels and whether each image counts.

    Attributes:
        recipe: The recipe that it is trained by.
        resnext_config: The config of the network.
        class_weights: The weight of each class in the training loss; empty for equal ones.
        averages: The exponential moving average of each of `averaged`; empty unless the recipe asks for it.
            Keras' optimizers average too (`use_ema`), but neither batch norm's statistics nor with several
            optimizers, which layer-wise learning-rate decay needs.
        averaged: The weights that have an average: those of all layers that are not frozen, batch norm's
            statistics included.
    """

    recipe: Recipe
    resnext_config: ModelConfig
    class_weights: list[float]
    averages: list[tf.Variable]
    averaged: list[keras.Variable]

    @classmethod
    def wrap(cls, network: keras.Model, recipe: Recipe, class_weights: list[float]) -> "TrainingModel":
        """Makes a model of the layers and weights of a network.

        Args:
            network: The network.
            recipe: The recipe that it is trained by.
            class_weights: The weight of each class in the training loss; empty for equal ones.
        """
        model = cls(network.inputs, network.outputs[0], name=network.name)
        model.recipe = recipe
        model.resnext_config = network.resnext_config
        model.class_weights = class_weights
        model.validation_loss = make_loss(recipe.labels, reduction=None)
        model.averages = []
        model.averaged = []
        model.averaged_steps = tf.Variable(0, trainable=False, dtype=tf.int64, aggregation=_ONE_REPLICA)
        return model

    def compile_for_training(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Compiles the model with the recipe's loss, and builds its metrics and averages."""
        loss = make_loss(self.recipe.labels, self.recipe.label_smoothing)
        # XLA, which Keras uses on a GPU by default, has no kernel for the augmentation's affine transforms.
        self.compile(optimizer, loss, weighted_metrics=[make_accuracy(self.recipe.labels)], jit_compile=False)
        classes = self.resnext_config.num_classes
        shape = {"int": (1,), "categorical": (1, classes), "binary": (1, 1)}[self.recipe.labels]
        # Keras would build loss and metrics with the first batch, when a checkpoint is restored already, and
        # would take the draws for sample weights.
        self.compute_loss(None, tf.zeros(shape), tf.zeros((1, classes)))
        self.compute_metrics(None, tf.zeros(shape), tf.zeros((1, classes)), tf.ones(1))
        self.reset_metrics()

    def start_averages(self) -> None:
        """Starts the moving averages, if the recipe asks for them, from the present weights."""
        if self.recipe.ema:
            self.averaged = [w for layer in self.layers if layer.trainable for w in layer.weights]
            self.averages = [
                tf.Variable(weight.numpy(), trainable=False, aggregation=_ONE_REPLICA)
                for weight in self.averaged
            ]

    def swap_averages(self) -> None:
        """Exchanges the weights and their averages; called twice, it changes nothing."""
        for weight, average in zip(self.averaged, self.averages):
            value = weight.numpy()
            weight.assign(average.numpy())
            average.assign(value)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        if training and self.class_weights:
            sample_weight = weight_images(y, self.class_weights)
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def train_step(self, data):
        images, labels, draws = data
        results = super().train_step(augment(self.recipe, images, labels, draws))
        if self.averages:
            self._update_averages()
        return self._for_workers(results)

    def test_step(self, data):
        """Plain cross-entropy, without label smoothing or class weights.

        Weights are chosen by the loss that the test set is measured by.
        """
        images, labels, counted = data
        logits = self(images, training=False)
        loss = next(metric for metric in self.metrics if metric.name == "loss")
        loss.update_state(self.validation_loss(labels, logits), sample_weight=counted)
        return self._for_workers(self.compute_metrics(images, labels, logits, sample_weight=counted))

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Builds nothing, because everything is built.

        Keras would reduce a batch over the workers of MultiWorkerMirroredStrategy and fail:
        https://github.com/keras-team/keras/issues/20585
        """

    def _for_workers(self, results):
        """Gives the results of a step the axis along which Keras averages over several workers."""
        several = isinstance(self.distribute_strategy, tf.distribute.MultiWorkerMirroredStrategy)
        return {name: tf.reshape(value, [1]) for name, value in results.items()} if several else results

    def _update_averages(self):
        # A young average follows the weights faster, as timm's ModelEmaV3 with use_warmup.
        step = tf.cast(self.averaged_steps.assign_add(1), tf.float32)
        decay = tf.minimum(self.recipe.ema, (1 + step) / (10 + step))
        for weight, average in zip(self.averaged, self.averages):
            average.assign(decay * average + (1 - decay) * tf.convert_to_tensor(weight))
