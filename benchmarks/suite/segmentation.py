"""Semantic segmentation of the two photographs that come with scikit-learn, from a few rectangles labelled by hand."""

import numpy as np
from matplotlib.colors import to_rgb
from scipy.ndimage import gaussian_filter
from sklearn import datasets

from ..shared_types import Array

#: The classes, and the colours that show them.
CLASSES = {
    "sky": "#87CEFA",
    "water": "#0072B2",
    "temple": "#B03020",
    "trees": "#2E8B2E",
    "flower": "#F0A030",
    "leaves": "#0B3C3C",
}
IGNORED = -100
SCALE = 4  # a pixel here is a square of 4 x 4 pixels of the photograph
HEIGHT, WIDTH = 106, 160
TILE = 53, 20  # of the network's input and output
BLURS = (2.0, 6.0)  # standard deviations, in pixels

# Photograph, class, rows and columns of the photograph. Everything else has no label: labelling takes long, and the
# borders between things are uncertain.
RECTANGLES = (
    (0, "sky", (0, 130), (0, 90)),
    (0, "sky", (0, 200), (330, 540)),
    (0, "water", (245, 280), (370, 540)),
    (0, "temple", (80, 130), (170, 240)),
    (0, "temple", (110, 160), (125, 290)),
    (0, "temple", (195, 325), (110, 315)),
    (0, "trees", (200, 250), (0, 50)),
    (0, "trees", (340, 424), (0, 190)),
    (0, "trees", (340, 424), (360, 540)),
    (0, "trees", (160, 424), (590, 640)),
    (1, "flower", (140, 310), (220, 395)),
    (1, "flower", (395, 424), (300, 430)),
    (1, "leaves", (0, 424), (0, 160)),
    (1, "leaves", (0, 75), (170, 440)),
    (1, "leaves", (0, 424), (460, 580)),
)


def load() -> tuple[Array, Array, Array, Array]:
    """Return features (N, F, H, W) and labels (N, H, W) of tiles: training x, held-out x, training y, held-out y."""
    x, y = _tiles(features()), _tiles(labels()[:, None])[:, 0]
    held_out = np.random.default_rng(0).permutation(len(x)) < len(x) // 4
    return x[~held_out], x[held_out], y[~held_out], y[held_out]


def features() -> Array:
    """Return each pixel's colour, the colours around it, and its height: (2, F, HEIGHT, WIDTH), in [-2, 2]."""
    photographs = np.stack(datasets.load_sample_images().images) / 255.0
    blocks = photographs[:, : HEIGHT * SCALE].reshape(2, HEIGHT, SCALE, WIDTH, SCALE, 3)
    colour = np.moveaxis(blocks.mean(axis=(2, 4)), -1, 1)
    around = [gaussian_filter(colour, (0, 0, blur, blur)) for blur in BLURS]
    height = np.broadcast_to(np.linspace(1, 0, HEIGHT)[:, None], (2, 1, HEIGHT, WIDTH))
    return 4 * np.concatenate([colour, *around, height], axis=1) - 2


def labels() -> Array:
    y = np.full((2, HEIGHT, WIDTH), IGNORED)
    for photograph, name, rows, columns in RECTANGLES:
        inside = tuple(slice(-(-first // SCALE), last // SCALE) for first, last in (rows, columns))  # whole pixels only
        y[photograph][inside] = list(CLASSES).index(name)
    return y


def class_weight(y: Array) -> Array:
    """Return weights with which all classes count alike in the loss, however rare they are."""
    return 1 / np.bincount(y[y != IGNORED], minlength=len(CLASSES))


class PixelClassifier:
    """Softmax regression of every pixel, which is a convolution of size 1: (N, F, H, W) to logits (N, C, H, W)."""

    def __init__(self, inputs: int) -> None:
        self.weight = np.zeros((len(CLASSES), inputs))
        self.bias = np.zeros((len(CLASSES), 1))

    def forward(self, x: Array) -> list[Array]:
        logits = self.weight @ _flat(x) + self.bias
        return [x, logits.reshape(len(x), len(CLASSES), *x.shape[2:])]

    def step(self, activations: list[Array], grad: Array, rate: float) -> None:
        x, grad = _flat(activations[0]), _flat(grad)
        self.weight -= rate * (grad @ x.swapaxes(1, 2)).sum(axis=0)
        self.bias -= rate * grad.sum(axis=(0, 2))[:, None]


def picture(model: PixelClassifier) -> Array:
    """Return a picture of the photographs, their labels and the model's predictions, side by side."""
    x, y = features(), labels()
    colours = np.array([to_rgb(colour) for colour in CLASSES.values()])
    photographs = np.moveaxis(x[:, :3] + 2, 1, -1) / 4
    labelled = np.where((y == IGNORED)[..., None], photographs, colours[y.clip(0)])
    predicted = colours[model.forward(x)[-1].argmax(axis=1)]
    return np.concatenate([np.concatenate(column) for column in (photographs, labelled, predicted)], axis=1)


def _tiles(pictures: Array) -> Array:
    """Cut (N, F, HEIGHT, WIDTH) into (more, F, *TILE)."""
    n, channels = pictures.shape[:2]
    h, w = TILE
    blocks = pictures.reshape(n, channels, HEIGHT // h, h, WIDTH // w, w)
    return np.ascontiguousarray(blocks.transpose(0, 2, 4, 1, 3, 5)).reshape(-1, channels, h, w)


def _flat(x: Array) -> Array:
    return x.reshape(*x.shape[:2], -1)
