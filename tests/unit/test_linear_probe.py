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
    return (features * np.logspace(-0.5, 0.5, 20) + 50).astype(np.float32), labels


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


def test_a_feature_that_hardly_varies_gets_no_large_weight():
    """A channel that is nearly dead in these images: fine-tuning wakes it, and multiplies by its weight."""
    features, labels = clusters(300, 0)
    faint = np.hstack([features, 1e-4 * features[:, :5]])
    probe = LinearProbe(faint, labels, 3)
    for _ in range(100):
        scores = probe.run_pass(faint, labels)
    weight, _ = probe.classifier()
    assert scores.accuracy == 1
    assert np.abs(weight[:, 20:]).max() < np.abs(weight[:, :20]).max()


def test_a_heavy_class_is_preferred():
    features, labels = clusters(300, 0, spread=30.0)
    plain, heavy = LinearProbe(features, labels, 3), LinearProbe(features, labels, 3, [1, 1, 9])
    for probe in (plain, heavy):
        probe.run_pass(features, labels)
    chosen = [(features @ w.T + b).argmax(axis=1) for w, b in (plain.classifier(), heavy.classifier())]
    assert (chosen[1] == 2).sum() > 1.5 * (chosen[0] == 2).sum()


def stepped(labels, folds, steps: int = 12) -> LinearProbe:
    features, _ = clusters(len(labels), 0, spread=6.0)
    probe = LinearProbe(features, labels, 3, folds=folds)
    for _ in range(steps):
        probe._step()
    return probe


@pytest.mark.parametrize("images", [15, 60])
def test_an_image_is_judged_without_its_own_label(images):
    """With fewer images than channels and with more."""
    _, labels = clusters(images, 0)
    wrong = labels.copy()
    wrong[4] = (wrong[4] + 1) % 3
    folds = np.arange(images)
    logits = [stepped(classes, folds)._unseen_logits() for classes in (labels, wrong)]
    np.testing.assert_allclose(logits[0][4], logits[1][4], rtol=1e-4, atol=1e-5)
    assert not np.allclose(logits[0][5], logits[1][5], rtol=1e-3)


def test_folds_leave_the_classifier_of_all_images_as_it_is():
    _, labels = clusters(30, 0)
    plain, folded = stepped(labels, None), stepped(labels, np.arange(30) % 5)
    np.testing.assert_allclose(plain.classifier()[0], folded.classifier()[0], rtol=1e-3, atol=1e-6)
    assert not np.allclose(folded._unseen_logits(), folded._logits[:, :, 0], rtol=1e-3)


def test_the_pass_with_the_lowest_loss_of_unseen_images_is_chosen():
    features, labels = clusters(60, 0, spread=6.0)
    result = LinearProbe(features, labels, 3, folds=np.arange(60) % 10).cross_validate()
    loss, accuracy = score(result.logits, labels)
    assert loss < np.log(3)
    assert 0.4 < accuracy <= score(features @ result.weight.T + result.bias, labels)[1]


def test_without_folds_a_fixed_number_of_passes_is_made():
    features, labels = clusters(6, 0)
    result = LinearProbe(features, labels, 3).cross_validate()
    assert score(result.logits, labels)[1] == 1


def test_softmax_of_large_logits_is_finite():
    assert softmax(np.array([[1e4, 0.0, -1e4]])).tolist() == [[1, 0, 0]]
