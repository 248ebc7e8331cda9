"""What the tests of the page share: a model repository, its classifier, and the requests of visitors."""

import types

import numpy as np
import pytest

from resnext.classifier import Classifier
from resnext.ood import Detector, background
from resnext.page.models import Models
from tests.helpers.repositories import make_repository


@pytest.fixture(scope="session")
def repository(tmp_path_factory):
    """A complete model repository, which tests must not change."""
    return make_repository(tmp_path_factory.mktemp("models") / "flowers")


@pytest.fixture(scope="session")
def classifier(repository):
    """Its classifier."""
    return Classifier.from_pretrained(repository)


@pytest.fixture(scope="session")
def models(repository):
    """A page's models: the repository, and a folder that does not exist."""
    return Models([str(repository), str(repository.parent / "gone")])


@pytest.fixture
def refusing_models(repository):
    """A page's models: the repository, with a detector that accepts no photograph."""
    models = Models([str(repository)])
    size = background()["basis"].shape[1]
    bias = np.array([0, 0, 0, 0, 0, 9.0])
    detector = Detector(np.zeros((6, size)), bias, np.zeros((5, size)), np.zeros((size, size)))
    models.open(None).classifier.detector = detector
    return models


@pytest.fixture(scope="session")
def ask():
    """Makes the request of a visitor, as Gradio passes it to event handlers."""

    def ask(language: str = "en-US", **query: str):
        return types.SimpleNamespace(headers={"accept-language": language}, query_params=query)

    return ask
