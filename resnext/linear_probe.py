"""The linear probe: a classifier for the pooled features of a network that stays as it is."""

from typing import NamedTuple

import numpy as np

from resnext.runtimes import Output

MAX_PASSES = 300
# The standard deviation below which a feature is scaled like one that has it, as a fraction of the root mean
# square of all features' deviations. In photographs, features vary by more: by a sixth of it at least.
_LEAST_DEVIATION = 0.05
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


class CrossValidation(NamedTuple):
    """A classifier, and how others that were fitted in the same way judge the images that they did not see.

    Args:
        weight: (classes, channels) float32, of the classifier that was fitted to all images.
        bias: (classes,) float32.
        logits: (images, classes) float32, of each image by the classifier that was fitted without its fold.
            Those of an image in no fold are of the classifier that was fitted to all images.
    """

    weight: np.ndarray
    bias: np.ndarray
    logits: np.ndarray


class LinearProbe:
    """Multinomial logistic regression by full-batch gradient descent with Nesterov's acceleration.

    The weights start at zero, on standardized features. There is no L2 penalty: the caller stops at the
    lowest validation loss, which regularizes like one (Ali et al., 2019, arXiv:1810.10082). With `folds`, a
    further classifier for each fold descends beside the first, in the same passes, without the fold's images.

    Args:
        features: (images, channels) float32.
        labels: (images,) int, the classes.
        num_classes: The number of classes.
        class_weights: (classes,) float, the weight of each class in the loss. Default: equal.
        folds: (images,) int, from 0, the fold of each image; -1 for images that no classifier is fitted
            without. Default: no folds.

    Attributes:
        step_size: The step size of the gradient descent, on standardized features.
    """

    def __init__(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        num_classes: int,
        class_weights: np.ndarray | None = None,
        folds: np.ndarray | None = None,
    ):
        self._mean = features.mean(axis=0)
        deviation = features.std(axis=0)
        # Features that hardly vary in these images are not magnified to the variance of the others:
        # fine-tuning changes them by more, and their large weights would then make the loss overflow.
        least = max(_LEAST_DEVIATION * float(np.sqrt(np.square(deviation).mean())), 1e-6)
        self._scale = 1 / np.maximum(deviation, least)
        self._features, self._basis = _reduce(self._standardize(features))
        self._labels = labels
        weights = np.ones(num_classes) if class_weights is None else np.asarray(class_weights)
        image_weights = weights[labels]
        self._image_weights = (image_weights / image_weights.sum()).astype(np.float32)
        self._targets = np.eye(num_classes, dtype=np.float32)[labels][:, :, None]
        self.step_size = 2 / self._largest_eigenvalue()
        self._folds = np.full(len(labels), -1) if folds is None else np.asarray(folds)
        # The first classifier sees all images, the one of a fold all but the fold's.
        count = int(self._folds.max()) + 1
        seen = self._folds[:, None] != np.arange(-1, count)
        seen[:, 0] = True
        self._seen_weights = (self._image_weights[:, None] * seen)[:, None]
        # The classifiers are the last axis, so that NumPy is fast along it.
        self._parameters = np.zeros((self._features.shape[1], num_classes, 1 + count), np.float32)
        self._logits = np.zeros((len(labels), num_classes, 1 + count), np.float32)
        self._previous = self._parameters, self._logits
        self._passes = 0

    def run_pass(self, val_features: np.ndarray, val_labels: np.ndarray) -> Scores:
        """Makes one step, which takes a pass over the features, and measures the classifier after it.

        Args:
            val_features: (val_images, channels) float32.
            val_labels: (val_images,) int.

        Returns:
            The scores. Those of the training images are measured just before the step.
        """
        logits = self._step()[:, :, 0]
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

    def cross_validate(self) -> CrossValidation:
        """Makes passes until the loss of the images that a classifier has not seen is not lower for a while.

        This loss takes the place of the validation loss: all classifiers are those after the same pass. With
        no image in a fold, `PATIENCE` passes are made.
        """
        left_out = self._folds >= 0
        best = self._parameters[:, :, 0], self._unseen_logits()
        best_loss, waited = np.inf, 0
        while self._passes < MAX_PASSES and waited < PATIENCE:
            self._step()
            logits = self._unseen_logits()
            waited += 1
            weights = self._image_weights[left_out]
            loss = float(weights @ losses(logits[left_out], self._labels[left_out]))
            if loss < best_loss or not left_out.any():
                best, best_loss = (self._parameters[:, :, 0], logits), loss
                waited = 0 if left_out.any() else waited
        return CrossValidation(*self._unstandardized(best[0]), best[1])

    def classifier(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns weight (classes, channels) and bias (classes,) float32, for features as they are."""
        return self._unstandardized(self._parameters[:, :, 0])

    def _step(self) -> np.ndarray:
        """Makes one step; returns the logits where it looked ahead: (images, classes, 1 + folds)."""
        self._passes += 1
        momentum = (self._passes - 1) / (self._passes + 2)
        previous_parameters, previous_logits = self._previous
        self._previous = self._parameters, self._logits
        ahead = self._parameters + momentum * (self._parameters - previous_parameters)
        logits = self._logits + momentum * (self._logits - previous_logits)
        residuals = softmax(logits, axis=1)
        residuals -= self._targets
        residuals *= self._seen_weights
        gradient = self._features.T @ residuals.reshape(len(residuals), -1)
        self._parameters = ahead - self.step_size * gradient.reshape(ahead.shape)
        flat = self._parameters.reshape(len(self._parameters), -1)
        self._logits = (self._features @ flat).reshape(logits.shape)
        return logits

    def _unseen_logits(self) -> np.ndarray:
        """The logits of each image by the classifier of its fold: (images, classes)."""
        return self._logits[np.arange(len(self._logits)), :, 1 + self._folds]

    def _unstandardized(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self._basis is not None:
            parameters = self._basis @ parameters
        weight = (parameters[:-1] * self._scale[:, None]).T
        return weight, parameters[-1] - weight @ self._mean

    def _standardize(self, features: np.ndarray) -> np.ndarray:
        """Standardized features, and a column of ones for the bias."""
        standardized = (features - self._mean) * self._scale
        return np.hstack([standardized, np.ones((len(features), 1), np.float32)]).astype(np.float32)

    def _largest_eigenvalue(self) -> float:
        """Of the features' second moment: half of it bounds the curvature of the loss (Böhning, 1992)."""
        weights = self._image_weights[:, None]
        vector = np.random.default_rng(0).standard_normal((self._features.shape[1], 1)).astype(np.float32)
        for _ in range(_POWER_ITERATIONS):
            vector /= np.linalg.norm(vector)
            vector = self._features.T @ (weights * (self._features @ vector))
        return float(np.linalg.norm(vector)) * 1.1  # the iteration comes from below


def _reduce(features: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Features of fewer images than channels as coordinates in an orthonormal basis of what they span.

    The descent starts at zero and moves in that space only, so that it makes the same steps in less time.

    Returns:
        (images, dimensions) float32; and the basis (channels, dimensions), None if it would not be smaller.
    """
    if len(features) >= features.shape[1]:
        return features, None
    basis, coordinates = np.linalg.qr(features.T)
    return np.ascontiguousarray(coordinates.T), basis


def softmax(logits: np.ndarray, axis: int = -1) -> np.ndarray:
    """Probabilities of logits along an axis."""
    exponentials = np.exp(logits - logits.max(axis=axis, keepdims=True))
    exponentials /= exponentials.sum(axis=axis, keepdims=True)
    return exponentials


def score(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Computes the mean cross-entropy, and the accuracy in [0, 1].

    Args:
        logits: (images, classes) float.
        labels: (images,) int.
    """
    return float(losses(logits, labels).mean()), float((logits.argmax(axis=1) == labels).mean())


def losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Computes the cross-entropy of each image: (images,) float.

    Args:
        logits: (images, classes) float.
        labels: (images,) int.
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]
