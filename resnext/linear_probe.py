"""The linear probe: a classifier for the pooled features of a network that stays as it is."""

from typing import NamedTuple

import numpy as np

from resnext.runtimes import Output

MAX_PASSES = 300
PATIENCE = 30  # passes without a lower validation loss, after which a probe stops
# Of the power iteration, whose result decides the step size.
_POWER_ITERATIONS = 30


class Scores(NamedTuple):
    """Mean cross-entropy and accuracy in [0, 1] after a pass over the features."""

    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float


def pool(output: Output) -> np.ndarray:
    """Returns the features that the network's classifier sees: (channels,) float32."""
    return output.features.mean(axis=(1, 2))


class LinearProbe:
    """Multinomial logistic regression by full-batch gradient descent with Nesterov's acceleration.

    The weights start at zero, on standardized features. There is no L2 penalty: the caller stops at the
    lowest validation loss, which regularizes like one (Ali et al., 2019, arXiv:1810.10082).

    Args:
        features: (images, channels) float32.
        labels: (images,) int, the classes.
        num_classes: The number of classes.
        class_weights: (classes,) float, the weight of each class in the loss. Default: equal.

    Attributes:
        step_size: The step size of the gradient descent, on standardized features.
    """

    def __init__(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        num_classes: int,
        class_weights: np.ndarray | None = None,
    ):
        self._mean = features.mean(axis=0)
        deviation = features.std(axis=0)
        # Constant features are ignored.
        self._scale = np.divide(1, deviation, out=np.zeros_like(deviation), where=deviation > 1e-6)
        self._features = self._standardize(features)
        self._labels = labels
        weights = np.ones(num_classes) if class_weights is None else np.asarray(class_weights)
        image_weights = weights[labels]
        self._image_weights = (image_weights / image_weights.sum()).astype(np.float32)[:, None]
        self._targets = np.eye(num_classes, dtype=np.float32)[labels]
        self.step_size = 2 / self._largest_eigenvalue()
        self._parameters = np.zeros((features.shape[1] + 1, num_classes), np.float32)
        self._previous = self._parameters
        self._passes = 0

    def run_pass(self, val_features: np.ndarray, val_labels: np.ndarray) -> Scores:
        """Makes one step, which takes a pass over the features, and measures the classifier after it.

        Args:
            val_features: (val_images, channels) float32.
            val_labels: (val_images,) int.

        Returns:
            The scores. Those of the training images are measured just before the step.
        """
        self._passes += 1
        momentum = (self._passes - 1) / (self._passes + 2)
        ahead = self._parameters + momentum * (self._parameters - self._previous)
        logits = self._features @ ahead
        gradient = self._features.T @ (self._image_weights * (softmax(logits) - self._targets))
        self._previous, self._parameters = self._parameters, ahead - self.step_size * gradient
        weight, bias = self.classifier()
        return Scores(*score(logits, self._labels), *score(val_features @ weight.T + bias, val_labels))

    def fit(self, val_features: np.ndarray, val_labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Makes passes until the validation loss has not been lower for a while.

        Args:
            val_features: (val_images, channels) float32.
            val_labels: (val_images,) int.

        Returns:
            Weight and bias, as `classifier` does, after the pass with the lowest validation loss.
        """
        best, best_loss, waited = self.classifier(), np.inf, 0
        while self._passes < MAX_PASSES and waited < PATIENCE:
            loss = self.run_pass(val_features, val_labels).val_loss
            waited += 1
            if loss < best_loss:
                best, best_loss, waited = self.classifier(), loss, 0
        return best

    def classifier(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns weight (classes, channels) and bias (classes,) float32, for features as they are."""
        weight = (self._parameters[:-1] * self._scale[:, None]).T
        return weight, self._parameters[-1] - weight @ self._mean

    def _standardize(self, features: np.ndarray) -> np.ndarray:
        """Standardized features, and a column of ones for the bias."""
        standardized = (features - self._mean) * self._scale
        return np.hstack([standardized, np.ones((len(features), 1), np.float32)]).astype(np.float32)

    def _largest_eigenvalue(self) -> float:
        """Of the features' second moment: half of it bounds the curvature of the loss (Böhning, 1992)."""
        vector = np.random.default_rng(0).standard_normal((self._features.shape[1], 1)).astype(np.float32)
        for _ in range(_POWER_ITERATIONS):
            vector /= np.linalg.norm(vector)
            vector = self._features.T @ (self._image_weights * (self._features @ vector))
        return float(np.linalg.norm(vector)) * 1.1  # the iteration comes from below


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits along the last axis."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def score(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Computes the mean cross-entropy, and the accuracy in [0, 1].

    Args:
        logits: (images, classes) float.
        labels: (images,) int.
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    true = shifted[np.arange(len(labels)), labels]
    loss = np.log(np.exp(shifted).sum(axis=1)) - true
    return float(loss.mean()), float((logits.argmax(axis=1) == labels).mean())
