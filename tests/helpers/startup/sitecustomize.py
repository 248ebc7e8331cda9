"""Python runs this when a process of the tests starts.

Where scikit-learn is installed, as it is with NNCF, Keras imports it with TensorFlow. That takes a quarter of
the time, and training does not use it.
"""

import sys

sys.modules["sklearn"] = None
