"""The pictures that explain the losses, drawn from fastloss itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from rich.console import Console

import fastloss as fl

from ..output.drawing import BLACK, BLUE, COLOURS, GREEN, ORANGE, PINK, RED, SKY, save, style
from ..shared_types import Array

Curve = Callable[[Array], tuple[Array, Array]]  # the loss and its slope at each x
Curves = dict[str, tuple[Curve, str]]  # the label, the curve and its colour


def run(console: Console, folder: Path) -> None:
    for draw in (regression, robust, margins, probabilities, focal, surfaces, learning_rates):
        figure = Figure(layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))  # inches
        draw(figure)
        save(figure, folder, draw.__name__)
        console.print(f"{folder / draw.__name__}.svg and .png")


def of_pred(loss: Any, target: float, **options: Any) -> Curve:
    """Return the loss of one element as a function of the prediction."""
    return lambda x: loss.value_and_grad(x, np.full_like(x, target), reduction="none", **options)


def of_logit(loss: Any, **options: Any) -> Curve:
    """Return the loss of two classes, of which the first is right, as a function of the logit of the first."""

    def evaluate(z: Array) -> tuple[Array, Array]:
        logits = np.stack([z, np.zeros_like(z)], axis=1)
        value, grad = loss.value_and_grad(logits, np.zeros(len(z), int), reduction="none", **options)
        return value, grad[:, 0]

    return evaluate


def regression(figure: Figure) -> None:
    curves: Curves = {
        "mse (L2)": (of_pred(fl.mse, 0), ORANGE),
        "mae (L1)": (of_pred(fl.mae, 0), GREEN),
        "huber, delta=1": (of_pred(fl.huber, 0), BLUE),
        "smooth_l1, beta=0.5": (of_pred(fl.smooth_l1, 0, beta=0.5), RED),
    }
    _loss_and_gradient(figure, curves, "residual: prediction - target", np.linspace(-3, 3, 601), (-0.1, 4), (-4, 4))


def robust(figure: Figure) -> None:
    losses: tuple[Any, ...] = (fl.huber, fl.fair, fl.cauchy, fl.geman_mcclure, fl.welsch, fl.tukey)
    colours = (BLACK, GREEN, BLUE, ORANGE, RED, PINK)
    curves: Curves = {loss.__name__: (of_pred(loss, 0), c) for loss, c in zip(losses, colours, strict=True)}
    _loss_and_gradient(
        figure, curves, "residual: prediction - target", np.linspace(-5, 5, 601), (-0.05, 2), (-1.1, 1.1)
    )


def margins(figure: Figure) -> None:
    curves: Curves = {
        "hinge": (of_pred(fl.hinge, 1), BLUE),
        "squared_hinge": (of_pred(fl.squared_hinge, 1), ORANGE),
        "logistic": (of_pred(fl.logistic, 1), GREEN),
        "modified_huber": (of_pred(fl.modified_huber, 1), SKY),
        "wrong or right": (lambda z: (np.where(z < 0, 1.0, 0.0), np.full_like(z, np.nan)), BLACK),
    }
    label = "margin: label times prediction"
    _loss_and_gradient(figure, curves, label, np.linspace(-2.5, 2.5, 601), (-0.1, 4), (-4.5, 0.3))


def probabilities(figure: Figure) -> None:
    curves: Curves = {
        "label 1: -log p": (of_pred(fl.binary_cross_entropy, 1), BLUE),
        "label 0: -log(1 - p)": (of_pred(fl.binary_cross_entropy, 0), ORANGE),
    }
    label = "p: predicted probability of label 1"
    _loss_and_gradient(figure, curves, label, np.linspace(0.002, 0.998, 601), (-0.1, 5), (-20, 20))


def _loss_and_gradient(
    figure: Figure, curves: Curves, xlabel: str, x: Array, loss_limits: Any, gradient_limits: Any
) -> None:
    figure.set_size_inches(10, 4)
    left, right = figure.subplots(1, 2)
    for i, (label, (function, colour)) in enumerate(curves.items()):
        value, slope = function(x)
        # each thinner than the one before, so that curves which coincide are all visible
        kind = {"color": colour, "linestyle": ":" if colour == BLACK else "-", "linewidth": 4 - 0.6 * i}
        left.plot(x, value, label=label, **kind)
        right.plot(x, slope, **kind)
    left.set_ylim(loss_limits)
    right.set_ylim(gradient_limits)
    style(left, xlabel, "loss")
    style(right, xlabel, "gradient")
    figure.legend(loc="outside upper center", ncols=len(curves), frameon=False)


def focal(figure: Figure) -> None:
    p = np.linspace(0.005, 0.995, 601)
    z = np.log(p / (1 - p))
    entropy = of_logit(fl.cross_entropy)
    with_gamma = {"cross_entropy (gamma = 0)": entropy}
    with_gamma |= {f"softmax_focal, gamma={g}": of_logit(fl.softmax_focal, gamma=g) for g in (0.5, 1.0, 2.0, 5.0)}
    weighted = {"cross_entropy": entropy}
    for w in (0.25, 2.0):
        weighted[f"cross_entropy, class_weight={w}"] = of_logit(fl.cross_entropy, class_weight=[w, 1.0])
    for alpha in (0.25, 0.75):
        weighted[f"sigmoid_focal, gamma=2, alpha={alpha}"] = of_pred(fl.sigmoid_focal, 1, alpha=alpha)

    figure.set_size_inches(10, 8)
    for (loss_axes, slope_axes), curves in zip(figure.subplots(2, 2), (with_gamma, weighted), strict=True):
        for (label, function), colour in zip(curves.items(), COLOURS, strict=False):
            value, slope = function(z)
            loss_axes.plot(p, value, color=colour, linewidth=2, label=label)
            slope_axes.plot(p, slope, color=colour, linewidth=2)
        loss_axes.set_ylim(-0.1, 5)
        loss_axes.legend()
        style(loss_axes, "p: probability of the right class", "loss")
        style(slope_axes, "p: probability of the right class", "gradient with respect to its logit")


def surfaces(figure: Figure) -> None:
    """Draw the loss of one neuron with two weights on three samples, of which one is on the wrong side."""
    x = np.array([[1.0, 2.0], [-2.0, 1.0], [1.5, 1.0]])
    labels = np.array([1.0, 1.0, 0.0])
    axis = np.linspace(-8, 8, 61)
    w = np.stack(np.meshgrid(axis, axis), axis=-1)
    logits = w @ x.T
    losses: dict[str, Any] = {
        "brier: squared error through a sigmoid, not convex": fl.brier,
        "binary_cross_entropy_with_logits: convex": fl.binary_cross_entropy_with_logits,
    }
    figure.set_size_inches(10, 4.5)
    for i, (title, loss) in enumerate(losses.items()):
        mean = loss(logits, np.broadcast_to(labels, logits.shape), reduction="none").mean(axis=-1)
        axes: Any = figure.add_subplot(1, 2, i + 1, projection="3d")
        # As pixels, the file is a tenth of that with thousands of polygons.
        axes.plot_surface(*np.moveaxis(w, -1, 0), mean, cmap="cividis", rcount=61, ccount=61, rasterized=True)
        axes.set(xlabel="weight 1", ylabel="weight 2", zlabel="mean loss", title=title)
        axes.view_init(elev=35, azim=-120)
        axes.set_box_aspect(None, zoom=0.95)  # otherwise the label of z is cut off


def learning_rates(figure: Figure) -> None:
    """Draw the loss of softmax regression on three clouds of points, with three learning rates."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 50)
    centres = np.array([[5.0, 7.0], [3.0, 4.0], [7.0, 4.0]])  # away from 0, as features usually are
    x = np.column_stack([centres[labels] + 1.2 * rng.standard_normal((150, 2)), np.ones(150)])
    figure.set_size_inches(7, 4)
    axes = figure.subplots()
    for rate, kind, colour in ((0.005, "too low", BLUE), (0.1, "right", GREEN), (0.3, "too high", RED)):
        weight = np.zeros((3, 3))
        curve = []
        for _ in range(60):
            value, grad = fl.cross_entropy.value_and_grad(x @ weight, labels)
            curve.append(value)
            weight -= rate * (x.T @ grad)
        axes.plot(curve, color=colour, linewidth=2, label=f"{kind}: {rate}")
    axes.legend(title="learning rate")
    style(axes, "step of gradient descent", "training loss (cross_entropy)")
