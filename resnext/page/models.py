"""An open model, with the last answers that it gave."""

import collections
import dataclasses
import threading
import time

import numpy as np
from PIL import Image

from resnext.classifier import Answer, Classifier
from resnext.preprocessing import open_image, preprocess

_MOST_LOOKS = 32  # answers kept for each model, with their feature maps (400 kB each for ResNeXt-50 at 224)


@dataclasses.dataclass(frozen=True)
class Look:
    """What came of one photograph.

    Args:
        answer: the network's.
        pixels: (image_size, image_size, 3) uint8 RGB, what the network saw.
        photograph: the whole of it, RGB, at most 1024 pixels wide or high.
        network: seconds in the network.
        seconds: from the encoded file to the answer.
    """

    answer: Answer
    pixels: np.ndarray
    photograph: Image.Image
    network: float
    seconds: float


class Model:
    """A classifier that remembers its last answers, so that telling and explaining them runs no network again."""

    def __init__(self, classifier: Classifier):
        self.classifier = classifier
        self._looks: collections.OrderedDict[str, Look] = collections.OrderedDict()
        self._lock = threading.Lock()

    def look(self, path: str) -> Look:
        """Classifies an uploaded photograph; the last few answers are remembered.

        Raises:
            ImageError: it is no image.
        """
        with self._lock:
            if path in self._looks:
                self._looks.move_to_end(path)
                return self._looks[path]
        start = time.perf_counter()
        preprocessing = self.classifier.config.preprocessing
        image = open_image(path, preprocessing.resize_to)
        pixels = preprocess(image, preprocessing)
        begin = time.perf_counter()
        answer = self.classifier.run(pixels)
        end = time.perf_counter()
        image.thumbnail((1024, 1024))
        look = Look(answer, pixels, image, end - begin, end - start)
        with self._lock:
            self._looks[path] = look
            while len(self._looks) > _MOST_LOOKS:
                self._looks.popitem(last=False)
        return look
