"""What a loss is, declared once. Checks, help, tests, benchmarks and integrations read it from here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from fastloss._core.request.domains import Domain

Shape = Literal[
    "pred", "leading", "batch", "classes", "number", "rows of classes", "each class", "nodes", "model", "own"
]


@dataclass(frozen=True)
class Input:
    """An array that a loss takes, or a number that has a gradient.

    `shape` is "pred" for the shape of the first input, "leading" for that shape or some of its leading axes, "batch"
    for the shape of the unreduced loss, and "number" for a scalar. "classes" stands for class indices in the shape of
    the unreduced loss; a loss may allow probabilities in the shape of `pred` instead. "rows of classes" is a matrix
    with a row for each class, "each class" a vector of numbers, and "nodes" a matrix with a row for each inner node of
    a tree. "own" is a shape that the family knows, and "model" such a shape without an axis of samples: all samples
    share this input. An `optional` input may be None.
    """

    name: str
    domain: Domain = Domain.ANY
    differentiable: bool = False
    shape: Shape = "pred"
    optional: bool = False


PRED = Input("pred", differentiable=True)
TARGET = Input("target")
FRACTION = Input("target", Domain.UNIT_INTERVAL)  # a label 0 or 1, or a probability
SIGN = Input("target", Domain.SIGN)
PROBABILITY = Input("pred", Domain.PROBABILITY, differentiable=True)
CLASSES = Input("target", Domain.UNIT_INTERVAL, shape="classes")


@dataclass(frozen=True)
class Declaration:
    """What is true of a loss of any family; `inputs` are in the order of the loss's signature."""

    name: str
    inputs: tuple[Input, ...]
    #: The default of the argument `reduction`.
    reduction: str = "mean"
    #: Whether the loss has `grad_and_hess`. The Hessian of a loss between vectors is far from diagonal.
    hessian: bool = True
    #: Whether an element costs a few operations, and no exponential or division: a second thread pays later.
    light: bool = False
    #: The family, which is the name of the function in `fastloss._core.calls` that runs the loss.
    family: ClassVar[str]

    @property
    def differentiable(self) -> tuple[str, ...]:
        """The names of the inputs that have a gradient, in the order of the gradients."""
        return tuple(x.name for x in self.inputs if x.differentiable)


@dataclass(frozen=True)
class Elementwise(Declaration):
    """A loss of one element of each input, whatever their shape."""

    family = "elementwise"
    inputs: tuple[Input, ...] = (PRED, TARGET)
    #: `pred`, `target` and the third operand, as the driver numbers the operands; None for one that the loss has not.
    operands: tuple[Input, Input | None, Input | None] = field(init=False, repr=False)
    #: Their names and domains.
    names: tuple[str, str | None, str | None] = field(init=False, repr=False)
    domains: tuple[Domain, Domain, Domain] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        pred, *rest = self.inputs
        target = next((x for x in rest if not x.differentiable), None)
        third = next((x for x in rest if x.differentiable), None)
        operands = (pred, target, third)
        object.__setattr__(self, "operands", operands)
        object.__setattr__(self, "names", tuple(x and x.name for x in operands))
        object.__setattr__(self, "domains", tuple(x.domain if x else Domain.ANY for x in operands))


@dataclass(frozen=True)
class Classes(Declaration):
    """A loss that needs all classes of a sample at once: of softmax, or of margins between classes."""

    family = "classes"
    inputs: tuple[Input, ...] = (PRED, CLASSES)
    #: The kernel module that runs it.
    driver: Literal["softmax", "margins"] = "softmax"
    #: Whether the target may be probabilities.
    takes_probabilities: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "takes_probabilities", self.driver == "softmax")


@dataclass(frozen=True)
class Terms(Declaration):
    """A loss with a class axis that is the sum, or the mean, of one term for each class."""

    family = "terms"
    inputs: tuple[Input, ...] = (PRED, FRACTION)
    #: Whether the terms are divided by their number.
    mean: bool = False
    #: The names and the domains of the two inputs, in order.
    names: tuple[str, str] = field(init=False, repr=False)
    domains: tuple[Domain, Domain] = field(init=False, repr=False)
    #: Whether the loss has a gradient with respect to the second input too.
    two_gradients: bool = field(init=False, repr=False)
    #: Whether the target may be class indices.
    takes_labels: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(x.name for x in self.inputs))
        object.__setattr__(self, "domains", tuple(x.domain for x in self.inputs))
        object.__setattr__(self, "two_gradients", len(self.differentiable) == 2)
        object.__setattr__(self, "takes_labels", self.inputs[1].shape == "classes")


@dataclass(frozen=True)
class Vectors(Declaration):
    """A loss of vectors, which lie along the last axis: a function of their distances or of their cosine."""

    family = "vectors"
    hessian: bool = False
    #: The names of the inputs that are vectors. The first `gradients` of them have a gradient.
    vectors: tuple[str, ...] = field(init=False, repr=False)
    gradients: int = field(init=False, repr=False)
    #: The label, of which there is at most one.
    label_name: str | None = field(init=False, repr=False)
    label_domain: Domain = field(init=False, repr=False)

    def __post_init__(self) -> None:
        label = next((x for x in self.inputs if x.shape == "batch"), None)
        of_call = {
            "vectors": tuple(x.name for x in self.inputs if x is not label),
            "gradients": len(self.differentiable),
            "label_name": None if label is None else label.name,
            "label_domain": Domain.ANY if label is None else label.domain,
        }
        for name, value in of_call.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
class Batches(Declaration):
    """A loss of a batch of vectors (N, D), in which every sample meets every other."""

    family = "batches"
    hessian: bool = False


@dataclass(frozen=True)
class Linear(Declaration):
    """A loss of the scores x W^T + b of a linear layer."""

    family = "linear"
    hessian: bool = False
    inputs: tuple[Input, ...] = (
        Input("x", differentiable=True),
        Input("weight", differentiable=True, shape="rows of classes"),
        CLASSES,
        Input("bias", differentiable=True, shape="each class", optional=True),
    )
    #: The loss of the scores.
    of_scores: Classes = field(kw_only=True)


@dataclass(frozen=True)
class Alignments(Declaration):
    """A loss of sequences of logits (T, N, C), summed over the alignments of their frames with labels."""

    family = "alignments"
    hessian: bool = False


@dataclass(frozen=True)
class Trees(Declaration):
    """A loss of the decisions on the way from the root of a tree to a class."""

    family = "trees"
    hessian: bool = False


@dataclass(frozen=True)
class Chains(Declaration):
    """A loss of sequences of tags. Scores of single tags, and of pairs of neighbours, add up to the score of a path."""

    family = "chains"
    hessian: bool = False
    inputs: tuple[Input, ...] = (
        Input("emissions", differentiable=True),
        Input("tags", shape="own"),
        Input("transitions", differentiable=True, shape="model"),
        Input("lengths", shape="own", optional=True),
        Input("start", differentiable=True, shape="model", optional=True),
        Input("end", differentiable=True, shape="model", optional=True),
    )
