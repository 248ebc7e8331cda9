"""Model repositories for the tests of the page."""

import io
import json

import numpy as np
from PIL import Image

from tests.helpers.repositories import FLOWERS, make_repository

# Rows: true, columns: predicted.
MATRIX = np.array([[20, 3, 0, 0, 0], [0, 18, 0, 0, 0], [0, 0, 9, 0, 7], [1, 0, 0, 15, 0], [0, 0, 2, 0, 12]])
HOSTILE_CARD = """---
license: mit
---
<!-- Written by a machine -->
# Hostile <b>card</b>

<script>window.hacked = 1</script>
<img src=x onerror="window.hacked = 2">
<iframe src="https://example.com/frame"></iframe><style>body { display: none }</style>

![spy](https://example.com/spy.png) ![data](data:image/png;base64,AAAA) <svg onload="window.hacked = 3"></svg>
[script](javascript:window.hacked=4) [data](data:text/html,x) [page](?model=evil/net) [other](//example.com/x)
[home](https://example.com "title") [below](#results) text <img src="https://example.com/spy.png">
<a onclick="window.hacked = 5">click</a>

| a | b |
| - | -: |
| <b onmouseover="window.hacked = 6">x</b> | y |

```html
<script>window.hacked = 7</script>
```

## Results
"""


def jpeg(color) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), color).save(buffer, "JPEG")
    return buffer.getvalue()


def make_tested(folder, labels=FLOWERS, matrix=MATRIX, thumbnails=5, top5=0.99):
    """A repository whose predictions are those of the matrix, with thumbnails of the first mistakes."""
    make_repository(folder, labels)
    predictions = []
    numbers = iter(range(thumbnails))
    for (row, column), count in np.ndenumerate(matrix):
        for index in range(count):
            file = f"test/{row}/{column}-{index}.jpg"
            predictions.append(
                {
                    "file": file,
                    "true": labels[row],
                    "predicted": labels[column],
                    "probability": 0.9 - index / 100,
                }
            )
            if row != column and (number := next(numbers, None)) is not None:
                predictions[-1]["thumbnail"] = f"mistakes/{number:04}.jpg"
                (folder / "mistakes").mkdir(exist_ok=True)
                (folder / "mistakes" / f"{number:04}.jpg").write_bytes(jpeg((40 * number, 0, 0)))
    per_class = [
        {
            "label": label,
            "precision": 0.5 + index / 1000,
            "recall": 1 - index / 2000,
            "f1": 0.7,
            "support": 200 * index,
        }
        for index, label in enumerate(labels)
    ]
    values = {
        "top1": 0.85,
        "top5": top5,
        "loss": 0.4,
        "samples": len(predictions),
        "dtype": "float32",
        "classes": list(labels),
        "confusion_matrix": matrix.tolist(),
        "per_class": per_class,
        "predictions": predictions,
    }
    (folder / "evaluation.json").write_text(json.dumps(values), "utf-8")
    return folder
