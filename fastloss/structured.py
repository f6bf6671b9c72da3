"""Losses of structured outputs: of sequences.

* A sequence of frames against a shorter sequence of labels, with no alignment known: `ctc`.

The arguments `sample_weight`, `reduction`, `normalizer` and `out` are those of every loss: see `fastloss.Loss`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from fastloss._core.calls.alignments import alignments
from fastloss._core.request.checks import flag
from fastloss._declaration import Alignments, Input
from fastloss._loss import loss

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastloss._loss import Common

__all__ = [
    "ctc",
]

CTC = Alignments(
    "ctc",
    (
        Input("logits", differentiable=True),
        Input("targets", shape="own"),
        Input("input_lengths", shape="own"),
        Input("target_lengths", shape="own"),
    ),
)


@loss(CTC)
def ctc(
    outputs: int,
    /,
    logits: ArrayLike,
    targets: ArrayLike,
    input_lengths: ArrayLike,
    target_lengths: ArrayLike,
    *,
    blank: int = 0,
    zero_infinity: bool = False,
    **common: Unpack[Common],
) -> Any:
    r"""Connectionist temporal classification: the negative log-probability of a sequence of labels, for each sequence.

    Use it for a model that scores classes in each frame of a longer input, speech or a line of handwriting, if it is
    known which labels the frames spell, but not where. The logits are scores: softmax is part of the loss.

    In each frame t, a class k_t has the probability softmax(logits[t])_k. Frames k_1, ..., k_T spell labels: repeated
    classes become one, and then blanks go. So two labels of the same class need a blank between them. The loss sums
    over all such alignments k::

        loss = -log(sum_k prod_t softmax(logits[t])[k_t])

    Parameters
    ----------
    logits : array_like
        Scores, (T, N, C): frames, sequences, classes. Half precision, float32 or float64. The unreduced loss has shape
        (N,). (T, C) is one sequence, with a 0-dimensional loss.
    targets : array_like
        Labels: class indices of any integer dtype other than `blank`. (N, S), where labels behind the length of a
        sequence may be anything; or (sum of target_lengths,), with the labels of all sequences one behind the other.
        (S,) for one sequence.
    input_lengths : array_like
        The number of frames of each sequence, (N,), integers in [0, T]. An integer for one sequence. What stands in
        later frames does not matter: they get the gradient 0.
    target_lengths : array_like
        The number of labels of each sequence, (N,), integers in [0, S]. An integer for one sequence.
    blank : int, default 0
        The class that stands for no label, in [0, C).
    zero_infinity : bool, default False
        Whether a loss of inf becomes 0, with the gradient 0.

    Notes
    -----
    * Mean: the denominator is the sum of `sample_weight`, or N if there are no weights. The loss of a sequence is not
      divided by its length. PyTorch's mean divides each loss by its target length first: pass
      ``sample_weight=1 / np.maximum(target_lengths, 1)`` and ``normalizer=N`` for that.
    * Gradient of the sum of the losses: in each frame, softmax minus the probabilities of the classes, given that the
      frames spell the labels.
    * Infinite loss: labels that need more frames than there are have the loss inf. They need a frame each, and one more
      between two equal labels. So have labels whose every alignment has a logit of -inf. The gradient of such a
      sequence is NaN in its frames, unless `zero_infinity` is set. It counts in the mean all the same.
    * Weights: a sequence with weight 0 is ignored, whatever its logits, labels and lengths are. In concatenated
      targets, each target length has to be right.
    * Special values: a logit of -inf forbids a class. A NaN or inf makes the loss and all gradients of its sequence
      NaN.
    * Accuracy: everything is computed in double precision, with exponents that do not underflow. The relative error of
      the gradient, and the absolute one of the loss, is about 1e-16 a frame, before it is rounded to the dtype.
    * Memory: for derivatives, each thread keeps 32 (T + 1) (S + 12) bytes for its longest sequence. A value takes a few
      KB. Logits whose classes lie side by side are read where they are, also as ``x.transpose(1, 0, 2)``.

    References
    ----------
    A. Graves, S. Fernandez, F. Gomez and J. Schmidhuber, Connectionist Temporal Classification: Labelling Unsegmented
    Sequence Data with Recurrent Neural Networks (2006).

    Examples
    --------
    Two frames of two classes, all equally likely. Three of four alignments spell the label 1: 11, 01 and 10.

    >>> import numpy as np, fastloss as fl
    >>> logits = np.zeros((2, 1, 2))
    >>> value, grad = fl.ctc.value_and_grad(logits, [[1]], [2], [1])
    >>> round(value, 6)  # log(4 / 3)
    0.287682
    >>> grad[0].round(4)
    array([[ 0.1667, -0.1667]])

    Targets of two sequences, padded and concatenated. The second one has too few frames for its labels:

    >>> logits = np.random.default_rng(0).standard_normal((4, 2, 5))
    >>> padded = np.array([[3, 0, 0], [2, 2, 1]])
    >>> fl.ctc(logits, padded, [4, 3], [1, 3], reduction="none").round(4)
    array([4.3902,    inf])
    >>> fl.ctc(logits, [3, 2, 2, 1], [4, 3], [1, 3], reduction="none", zero_infinity=True).round(4)
    array([4.3902, 0.    ])
    """
    zero_infinity = flag(zero_infinity, "zero_infinity")
    return alignments(
        CTC, outputs, logits, targets, input_lengths, target_lengths, common, blank=blank, zero_infinity=zero_infinity
    )
