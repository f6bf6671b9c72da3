"""Real models on real data, trained once with a NumPy loss and once with fastloss."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import geometric_mean
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn import datasets, metrics
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

import fastloss

from ..libraries import BASELINE, OURS, numpy_
from ..output.drawing import BLUE, ORANGE, style
from ..output.report import Report, progress
from ..output.tables import Table, seconds, times
from ..shared_types import Array
from . import segmentation

LossFunction = Callable[..., tuple[float, Array]]  # value and gradient of the mean loss

TOLERANCE = 1e-6  # the largest relative difference between the losses of the two runs, at any epoch
#: How each library finds a loss by its name.
LIBRARIES: dict[str, Callable[[str], LossFunction]] = {
    BASELINE: numpy_.find,
    OURS: lambda loss: getattr(fastloss, loss).value_and_grad,
}


@dataclass(frozen=True)
class Task:
    name: str
    loss: str
    data: str  # of sklearn.datasets
    hidden: tuple[int, ...]
    epochs: int
    rate: float
    batch: int = 128


TASKS = (
    Task("softmax regression, digits", "cross_entropy", "digits", (), 300, 0.1),
    Task("two-layer network, digits", "cross_entropy", "digits", (64,), 200, 0.05),
    Task("logistic regression, breast cancer", "binary_cross_entropy_with_logits", "breast_cancer", (), 1000, 0.05),
    Task("Huber regression, diabetes", "huber", "diabetes", (), 1000, 0.01),
    Task("embedding by a two-layer network, digits", "batch_hard_triplet", "digits", (64, 16), 30, 0.05),
    Task("segmentation, two photographs", "cross_entropy", "sample_images", (), 200, 0.2, batch=8),
)


@dataclass
class Run:
    curve: list[float]  # loss of the whole training set, epoch by epoch
    score: float  # on the held-out data
    loss_seconds: float  # in the loss, for value and gradient; nothing else
    steps: int
    model: Any  # as trained: a Network or a PixelClassifier
    score_before: float  # training

    def figures(self) -> dict[str, Any]:
        return {name: x for name, x in vars(self).items() if name != "model"}


class Network:
    """Dense layers with tanh between them. With a single layer it is a linear model."""

    def __init__(self, sizes: Sequence[int], seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.weights = [rng.normal(0, n**-0.5, (n, m)) for n, m in zip(sizes, sizes[1:], strict=False)]
        self.biases = [np.zeros(m) for m in sizes[1:]]

    def forward(self, x: Array) -> list[Array]:
        """Return the input of every layer, and the output of the last one."""
        activations = [x]
        for weight, bias in zip(self.weights, self.biases, strict=True):
            if len(activations) > 1:
                activations[-1] = np.tanh(activations[-1])
            activations.append(activations[-1] @ weight + bias)
        return activations

    def step(self, activations: list[Array], grad: Array, rate: float) -> None:
        """Take a step of gradient descent, given the gradient of the loss with respect to the output."""
        for i in reversed(range(len(self.weights))):
            x, weight = activations[i], self.weights[i]
            below = (grad @ weight.T) * (1 - x * x) if i else grad  # (tanh a)' = 1 - (tanh a)^2
            weight -= rate * (x.T @ grad)
            self.biases[i] -= rate * grad.sum(axis=0)
            grad = below


@dataclass(frozen=True)
class Problem:
    """The data of a task, a new model, and the arguments of the loss that follow from the data."""

    x_train: Array
    x_test: Array
    y_train: Array
    y_test: Array
    model: Network | segmentation.PixelClassifier
    options: Mapping[str, Any] = field(default_factory=dict)


def prepare(task: Task) -> Problem:
    if task.data == "sample_images":
        data = segmentation.load()
        x, _, y, _ = data
        options = {"axis": 1, "class_weight": segmentation.class_weight(y), "ignore_index": segmentation.IGNORED}
        return Problem(*data, segmentation.PixelClassifier(x.shape[1]), options)
    data = load(task)
    x, _, y, _ = data
    hidden, outputs = list(task.hidden), 1
    if task.loss == "cross_entropy":
        outputs = int(y.max()) + 1
    elif task.loss == "batch_hard_triplet":
        *hidden, outputs = hidden  # the last layer gives the vectors
    return Problem(*data, Network([x.shape[1], *hidden, outputs], seed=0))


def load(task: Task) -> tuple[Array, Array, Array, Array]:
    """Return standardised float64 features and the targets: training x, held-out x, training y, held-out y."""
    x, y = getattr(datasets, f"load_{task.data}")(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.25, random_state=0)
    scaler = StandardScaler().fit(x_train)
    if task.loss not in ("cross_entropy", "batch_hard_triplet"):
        y_train, y_test = y_train[:, None].astype(float), y_test[:, None].astype(float)  # the network's output: (N, 1)
    if task.loss == "huber":
        target_scaler = StandardScaler().fit(y_train)
        y_train, y_test = target_scaler.transform(y_train), target_scaler.transform(y_test)
    return scaler.transform(x_train), scaler.transform(x_test), y_train, y_test


def train(task: Task, loss: LossFunction, on_epoch: Callable[[], None]) -> Run:
    """Train by stochastic gradient descent, with any loss function. This is the only training loop."""
    problem = prepare(task)
    x, y, model, options = problem.x_train, problem.y_train, problem.model, problem.options
    rng = np.random.default_rng(1)
    score_before = score(task, problem)
    curve: list[float] = []
    loss_seconds = 0.0
    steps = 0
    for _ in range(task.epochs):
        order = rng.permutation(len(x))
        for first in range(0, len(order), task.batch):
            batch = order[first : first + task.batch]
            activations, target = model.forward(x[batch]), y[batch]
            start = time.perf_counter()
            _, grad = loss(activations[-1], target, **options)
            loss_seconds += time.perf_counter() - start
            model.step(activations, grad, task.rate)
            steps += 1
        value, _ = loss(model.forward(x)[-1], y, **options)  # for the curve; neither part of the training nor timed
        curve.append(value)
        on_epoch()
    return Run(curve, score(task, problem), loss_seconds, steps, model, score_before)


def score(task: Task, problem: Problem) -> float:
    """Return R^2 of a regression, or the accuracy of a classifier. An embedding classifies by the nearest neighbour."""
    output, y = problem.model.forward(problem.x_test)[-1], problem.y_test
    if task.loss == "huber":
        return float(metrics.r2_score(y, output))
    if task.loss == "batch_hard_triplet":
        neighbours = KNeighborsClassifier(1).fit(problem.model.forward(problem.x_train)[-1], problem.y_train)
        return float(neighbours.score(output, y))
    labels = output.argmax(axis=1) if task.loss == "cross_entropy" else output > 0
    labelled = y != segmentation.IGNORED
    return float(metrics.accuracy_score(y[labelled], labels[labelled]))


def train_all(report: Report) -> dict[str, dict[str, Run]]:
    """Train every task with every library, several times. The shortest time in the loss counts."""
    runs: dict[str, dict[str, Run]] = {}
    rounds = 1 if report.quick else 3
    with progress(report.console) as bars:
        for task in TASKS:
            task = replace(task, epochs=task.epochs // 5) if report.quick else task
            bar = bars.add_task(task.name, total=rounds * len(LIBRARIES) * task.epochs)
            best = runs[task.name] = {}
            for _ in range(rounds):
                for name, find in LIBRARIES.items():
                    bars.update(bar, description=f"{task.name}: {name}")
                    run = train(task, find(task.loss), partial(bars.advance, bar))
                    if name not in best or run.loss_seconds < best[name].loss_seconds:
                        best[name] = run
                    bars.refresh()
            bars.update(bar, description=task.name, refresh=True)
    return runs


def draw(runs: dict[str, dict[str, Run]]) -> Figure:
    """Draw the training curves. The two curves of a task coincide, so one is broad and pale and the other is dashed."""
    styles = {
        BASELINE: {"color": ORANGE, "linewidth": 5, "alpha": 0.6},
        OURS: {"color": BLUE, "linewidth": 1.5, "linestyle": "--"},
    }
    figure = Figure(figsize=(19, 7.5), layout="constrained")
    panels = list(figure.subplots(2, 4).flat)
    for axes in panels[len(TASKS) :]:
        axes.set_axis_off()
    rest = figure.add_subplot(panels[-1].get_gridspec()[1, len(TASKS) - 4 :])
    rest.set_axis_off()
    rest.set_title("photographs, their labels, and the model's")
    for task, axes in zip(TASKS, panels, strict=False):
        for name, run in runs[task.name].items():
            label = f"{name}: {seconds(run.loss_seconds)} in the loss"
            axes.plot(range(1, len(run.curve) + 1), run.curve, label=label, **styles[name])
        axes.set_xscale("log")
        style(axes, "epoch", f"training loss\n({task.loss})", task.name)
        axes.legend()
        if task.data == "sample_images":
            rest.imshow(segmentation.picture(runs[task.name][OURS].model), interpolation="nearest")
    figure.suptitle("The same training with a NumPy loss and with fastloss (float64, same seed)")
    return figure


def run(report: Report) -> None:
    """Train, show and save. Exit with an error if the two runs of a task do not have the same losses."""
    report.console.rule("Training, with a NumPy loss and with fastloss")
    runs = train_all(report)
    table = Table(
        "Time spent in the loss (value and gradient) while training",
        ("model and data", "steps", BASELINE, OURS, "ratio", "final loss", "difference", "held out"),
        notes=[
            "ratio: NumPy's time over fastloss's. held out: accuracy, or R^2 for the regression; in brackets, before "
            "training. An embedding predicts the label of the nearest training sample.",
            f"difference: the largest relative one between the two training curves; above {TOLERANCE:.0e} is an error.",
        ],
    )
    failures = []
    for task in TASKS:
        plain, fused = runs[task.name][BASELINE], runs[task.name][OURS]
        difference = float(np.max(np.abs(np.divide(fused.curve, plain.curve) - 1)))  # at any epoch, the last included
        if not difference <= TOLERANCE:  # also true for NaN
            failures.append(f"{task.name}: {plain.curve[-1]} with NumPy, {fused.curve[-1]} with fastloss")
        ratio = plain.loss_seconds / fused.loss_seconds
        table.add(
            (
                task.name,
                str(plain.steps),
                *times({BASELINE: plain.loss_seconds, OURS: fused.loss_seconds}, (BASELINE, OURS)),
                f"{ratio:.3g}x",
                f"{fused.curve[-1]:.6f}",
                f"{difference:.0e}",
                f"{fused.score:.3f} ({fused.score_before:.3f})",
            )
        )
    mean = geometric_mean([r[BASELINE].loss_seconds / r[OURS].loss_seconds for r in runs.values()])
    table.notes.append(f"Geometric mean of the ratios: {mean:.3g}x")
    report.publish("training", table, {task: {n: r.figures() for n, r in both.items()} for task, both in runs.items()})
    report.picture("training", "Training curves", draw(runs))
    if failures:
        raise SystemExit("The two trainings of a model do not have the same losses:\n" + "\n".join(failures))
