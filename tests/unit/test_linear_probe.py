"""The linear probe: it separates what can be separated, and its gradient is the loss's."""

import numpy as np
import pytest

from resnext.linear_probe import LinearProbe, score, softmax


def clusters(images: int, seed: int, spread: float = 1.0):
    """Features of three classes, shifted and scaled as no optimizer likes them."""
    rng = np.random.default_rng(seed)
    labels = np.arange(images) % 3
    centers = np.random.default_rng(7).normal(size=(3, 20)) * 2
    features = centers[labels] + spread * rng.normal(size=(images, 20))
    return (features * np.logspace(-3, 3, 20) + 50).astype(np.float32), labels


def fitted(passes: int, **options):
    features, labels = clusters(300, 0, **options)
    probe = LinearProbe(features, labels, 3)
    val = clusters(150, 1, **options)
    return probe, [probe.run_pass(*val) for _ in range(passes)], val


def test_classes_that_can_be_separated_are_after_a_few_passes():
    probe, scores, (features, labels) = fitted(60)
    assert scores[-1].val_accuracy == 1
    assert scores[-1].val_loss < 0.05
    weight, bias = probe.classifier()
    assert score(features @ weight.T + bias, labels) == pytest.approx(scores[-1][2:], abs=1e-6)


def test_the_loss_falls_and_reaches_that_of_a_penalized_optimum():
    """Classes that overlap: the lowest validation loss is close to the best of all penalties."""
    _, scores, _ = fitted(200, spread=6.0)
    losses = [row.loss for row in scores]
    assert losses[0] == pytest.approx(np.log(3), abs=1e-5)  # all classes are equally likely before the first
    assert losses[-1] < losses[50] < losses[10] < losses[0]
    assert min(row.val_loss for row in scores) <= scores[-1].val_loss


def test_a_feature_that_is_the_same_everywhere_is_left_out():
    features, labels = clusters(90, 0)
    constant = np.hstack([features, np.full((90, 1), 1e4, np.float32)])
    with_it, without = LinearProbe(constant, labels, 3), LinearProbe(features, labels, 3)
    for _ in range(5):
        scores = with_it.run_pass(constant, labels)
        expected = without.run_pass(features, labels)
    assert scores == pytest.approx(expected, abs=1e-4)
    assert not with_it.classifier()[0][:, -1].any()


def test_a_heavy_class_is_preferred():
    features, labels = clusters(300, 0, spread=30.0)
    plain, heavy = LinearProbe(features, labels, 3), LinearProbe(features, labels, 3, [1, 1, 9])
    for probe in (plain, heavy):
        probe.run_pass(features, labels)
    chosen = [(features @ w.T + b).argmax(axis=1) for w, b in (plain.classifier(), heavy.classifier())]
    assert (chosen[1] == 2).sum() > 1.5 * (chosen[0] == 2).sum()


def test_softmax_of_large_logits_is_finite():
    assert softmax(np.array([[1e4, 0.0, -1e4]])).tolist() == [[1, 0, 0]]
