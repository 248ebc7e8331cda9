"""The three equal forms of ResNeXt's residual block in NumPy (Figure 3 of the paper, arXiv:1611.05431).

Form (a) adds parallel paths, form (b) concatenates them early, and form (c) is one grouped convolution. The
weights of each form can be converted to the others', and all three then compute the same function. Blocks are
for inference: batch norm is the scale and shift that it amounts to after training. In form (a), as in the
paper's implementation, it follows the sum of the paths.
"""

import dataclasses

import numpy as np

from resnext.errors import ConfigError


def convolution_parameters(kernel: int, channels: int, filters: int, groups: int = 1) -> int:
    """Counts the weights of a convolution without biases.

    Each filter sees only its group's share of the input channels.

    Args:
        kernel: The height and width of the kernel.
        channels: The number of input channels.
        filters: The number of output channels.
        groups: The number of groups (cardinality).

    Raises:
        ConfigError: The groups do not divide channels and filters.

    Example:
        >>> convolution_parameters(3, channels=6, filters=3)
        162
        >>> convolution_parameters(3, channels=6, filters=3, groups=3)
        54
    """
    _check_groups(channels, filters, groups)
    return kernel * kernel * (channels // groups) * filters


def grouped_convolution(images: np.ndarray, kernel: np.ndarray, groups: int = 1) -> np.ndarray:
    """Computes a convolution of stride 1 that keeps height and width.

    Args:
        images: `(batch, height, width, channels)` float.
        kernel: `(size, size, channels / groups, filters)` float. `size` is odd.
        groups: The number of groups.

    Returns:
        `(batch, height, width, filters)` float.

    Raises:
        ConfigError: The groups do not divide channels and filters.
    """
    size, _, _, filters = kernel.shape
    _check_groups(images.shape[-1], filters, groups)
    margin = size // 2
    padded = np.pad(images, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))
    windows = windows.reshape(*windows.shape[:3], groups, -1, size, size)
    kernel = kernel.reshape(size, size, -1, groups, filters // groups)
    output = np.einsum("nhwgcij,ijcgf->nhwgf", windows, kernel, optimize=True)
    return output.reshape(*images.shape[:3], filters)


@dataclasses.dataclass(frozen=True)
class Norm:
    """Batch norm after training: scale and shift, each `(channels,)` float."""

    scale: np.ndarray
    shift: np.ndarray

    def __call__(self, x):
        return x * self.scale + self.shift

    def split(self, parts: int) -> list["Norm"]:
        return [Norm(*pair) for pair in zip(np.split(self.scale, parts), np.split(self.shift, parts))]

    @classmethod
    def join(cls, norms: list["Norm"]) -> "Norm":
        return cls(np.concatenate([n.scale for n in norms]), np.concatenate([n.shift for n in norms]))


@dataclasses.dataclass(frozen=True)
class Path:
    """A 1x1 convolution to a few channels, then a 3x3 convolution, each with batch norm and ReLU.

    Args:
        reduce: The 1x1 kernel, `(1, 1, channels, width)` float.
        norm1: The batch norm after it.
        transform: The 3x3 kernel, `(3, 3, width / groups, width)` float.
        norm2: The batch norm after it.
        groups: The number of groups of the 3x3 convolution.
    """

    reduce: np.ndarray
    norm1: Norm
    transform: np.ndarray
    norm2: Norm
    groups: int = 1

    def __call__(self, x):
        x = _relu(self.norm1(grouped_convolution(x, self.reduce)))
        return _relu(self.norm2(grouped_convolution(x, self.transform, self.groups)))


@dataclasses.dataclass(frozen=True)
class FormA:
    """Form (a): paths with an expanding 1x1 convolution each, added together.

    Args:
        paths: The paths, as many as the cardinality C.
        expands: The expanding kernel of each path, `(1, 1, width, channels)` float.
        norm3: The batch norm after the sum.
    """

    paths: tuple[Path, ...]
    expands: tuple[np.ndarray, ...]
    norm3: Norm

    def __call__(self, x):
        paths = (grouped_convolution(path(x), expand) for path, expand in zip(self.paths, self.expands))
        return _relu(x + self.norm3(sum(paths)))


@dataclasses.dataclass(frozen=True)
class FormB:
    """Form (b): paths concatenated, then one expanding 1x1 convolution.

    Args:
        paths: The paths, as many as the cardinality C.
        expand: The expanding kernel, `(1, 1, C x width, channels)` float.
        norm3: The batch norm after it.
    """

    paths: tuple[Path, ...]
    expand: np.ndarray
    norm3: Norm

    def __call__(self, x):
        y = np.concatenate([path(x) for path in self.paths], axis=-1)
        return _relu(x + self.norm3(grouped_convolution(y, self.expand)))


@dataclasses.dataclass(frozen=True)
class FormC:
    """Form (c): one wide path whose 3x3 convolution has C groups, then one expanding 1x1 convolution.

    Args:
        path: The wide path, with as many groups as the cardinality C.
        expand: The expanding kernel, `(1, 1, C x width, channels)` float.
        norm3: The batch norm after it.
    """

    path: Path
    expand: np.ndarray
    norm3: Norm

    def __call__(self, x):
        return _relu(x + self.norm3(grouped_convolution(self.path(x), self.expand)))

    @classmethod
    def random(cls, channels: int, cardinality: int, width: int, seed: int = 0) -> "FormC":
        """Makes a block of random float32 weights.

        Args:
            channels: The number of input and output channels.
            cardinality: The number of groups (32 in ResNeXt-50 32x4d).
            width: The number of channels of each group (4 in the first stage of ResNeXt-50 32x4d).
            seed: The seed of the random weights.
        """
        rng = np.random.default_rng(seed)
        total = cardinality * width

        def kernel(size, fan_in, filters):
            shape = (size, size, fan_in, filters)
            return (rng.standard_normal(shape) * np.sqrt(2 / (size * size * fan_in))).astype(np.float32)

        def norm(count):
            scale = rng.uniform(0.5, 1.5, count).astype(np.float32)
            shift = rng.normal(0, 0.2, count).astype(np.float32)
            return Norm(scale, shift)

        path = Path(
            kernel(1, channels, total), norm(total), kernel(3, width, total), norm(total), cardinality
        )
        return cls(path, kernel(1, total, channels), norm(channels))


def c_to_b(block: FormC) -> FormB:
    """Converts form (c) to form (b): each group becomes a path of its own."""
    path = block.path
    count = path.groups
    kernels = zip(np.split(path.reduce, count, axis=-1), np.split(path.transform, count, axis=-1))
    norms = zip(path.norm1.split(count), path.norm2.split(count))
    paths = tuple(
        Path(reduce, norm1, transform, norm2) for (reduce, transform), (norm1, norm2) in zip(kernels, norms)
    )
    return FormB(paths, block.expand, block.norm3)


def b_to_a(block: FormB) -> FormA:
    """Converts form (b) to (a): a 1x1 convolution of a concatenation is the sum of those of its parts."""
    return FormA(block.paths, tuple(np.split(block.expand, len(block.paths), axis=2)), block.norm3)


def a_to_b(block: FormA) -> FormB:
    """Converts form (a) to form (b): the expanding kernels are stacked along their input channels."""
    return FormB(block.paths, np.concatenate(block.expands, axis=2), block.norm3)


def b_to_c(block: FormB) -> FormC:
    """Converts form (b) to form (c): the paths side by side are a wide 1x1 and a grouped 3x3 convolution."""
    paths = block.paths
    path = Path(
        reduce=np.concatenate([path.reduce for path in paths], axis=-1),
        norm1=Norm.join([path.norm1 for path in paths]),
        transform=np.concatenate([path.transform for path in paths], axis=-1),
        norm2=Norm.join([path.norm2 for path in paths]),
        groups=len(paths),
    )
    return FormC(path, block.expand, block.norm3)


def _relu(x):
    return np.maximum(x, 0)


def _check_groups(channels, filters, groups):
    if groups < 1 or channels % groups or filters % groups:
        raise ConfigError(
            f"{groups} groups do not divide {channels} input channels and {filters} filters: "
            "choose groups that divide both."
        )
