"""Losses of embeddings, vectors whose distances or angles are to say what is alike: metric and contrastive learning.

The arguments `sample_weight`, `reduction`, `normalizer` and `out` are those of every loss: see `fastloss.Loss`.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from fastloss import _checks
from fastloss._loss import Loss
from fastloss.kernels.call import elementwise, number, rows

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastloss._loss import Common

__all__ = ["contrastive", "cosine_distance", "cosine_embedding", "hinge_embedding", "margin_ranking", "triplet"]

VectorLoss = partial(Loss, hessian=False)


@VectorLoss
def contrastive(
    want: int, /, x1: ArrayLike, x2: ArrayLike, same: ArrayLike, *, margin: float = 1.0, **common: Unpack[Common]
) -> Any:
    r"""Contrastive loss of pairs: draws pairs of the same kind together, pushes others apart up to a margin.

    With the Euclidean distance d of each pair of vectors::

        (same d^2 + (1 - same) max(0, margin - d)^2) / 2

    The gradient by x1 is x1 - x2 for pairs of the same kind, and -(margin - d) (x1 - x2) / d for others closer than the
    margin; that by x2 is the opposite. Others at distance 0 have the gradient 0: no direction leads apart.

    Parameters
    ----------
    x1 : array_like
        Vectors along the last axis, float32 or float64, with any axes before it: the batch, the shape of the loss.
    x2 : array_like
        The vectors that these are paired with, in the shape of `x1`.
    same : array_like
        1 for a pair of the same kind, else 0; in the shape of the batch.
    margin : float, default 1.0
        The distance from which on a pair of different kinds costs nothing; >= 0.

    References
    ----------
    R. Hadsell, S. Chopra and Y. LeCun, Dimensionality Reduction by Learning an Invariant Mapping, CVPR 2006.

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> x1, x2 = np.array([[3.0, 4.0], [0.5, 0.5]]), np.array([[0.0, 0.0], [0.5, 0.0]])
    >>> fl.contrastive(x1, x2, [1, 0], reduction="none")
    array([12.5  ,  0.125])
    >>> fl.contrastive.grad(x1, x2, [1, 0], reduction="sum")[0]
    array([[ 3. ,  4. ],
           [-0. , -0.5]])
    """
    parameters = (number(margin, "margin", 0),)
    return rows(
        want, "contrastive", ("x1", "x2"), (x1, x2), parameters, common,
        label_name="same", label=same, domain="zero or one",
    )  # fmt: skip


@VectorLoss
def triplet(
    want: int,
    /,
    anchor: ArrayLike,
    positive: ArrayLike,
    negative: ArrayLike,
    *,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    **common: Unpack[Common],
) -> Any:
    r"""Triplet margin loss: an anchor is to be closer to its positive than to its negative, by a margin.

    max(0, d(a, p) - d(a, n) + margin) with the distance d(x, y) = norm_p(x - y + eps). Every loss > 0 adds the gradient
    of the first distance and subtracts that of the second; a distance of 0 has the gradient 0. Where several elements
    are the largest for p = inf, they share its gradient. Powers are summed in double precision and without overflow.

    Parameters
    ----------
    anchor : array_like
        Vectors along the last axis, float32 or float64, with any axes before it: the batch, the shape of the loss.
    positive : array_like
        Vectors that are like the anchors, in the shape of `anchor`.
    negative : array_like
        Vectors that are not like the anchors, in the shape of `anchor`.
    margin : float, default 1.0
        By how much the negative is to be farther away than the positive.
    p : float, default 2.0
        The order of the norm, from 1 to inf. 1, 2 and inf are fast, others take powers of the elements.
    eps : float, default 1e-6
        Added to each element of a difference; >= 0.
    swap : bool, default False
        Whether to replace d(a, n) by the smaller of d(a, n) and d(p, n): the negative is pushed away from the nearer of
        both. Where these are equal, each has half of the gradient.

    References
    ----------
    F. Schroff, D. Kalenichenko and J. Philbin, FaceNet (2015); swap: V. Balntas et al., Learning Local Feature
    Descriptors with Triplets and Shallow Convolutional Neural Networks, BMVC 2016.

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> anchor, positive, negative = np.array([[0.0, 0.0]]), np.array([[3.0, 4.0]]), np.array([[0.0, 2.0]])
    >>> value, grads = fl.triplet.value_and_grad(anchor, positive, negative, eps=0.0)
    >>> value, [grad.round(6).tolist() for grad in grads]
    (4.0, [[[-0.6, 0.2]], [[0.6, 0.8]], [[0.0, -1.0]]])
    """
    parameters = (number(margin, "margin"),)
    return rows(
        want, "triplet", ("anchor", "positive", "negative"), (anchor, positive, negative), parameters, common,
        kernel="triplet_swap" if _checks.flag(swap, "swap") else None, p=_order(p), eps=number(eps, "eps", 0),
    )  # fmt: skip


@VectorLoss
def cosine_embedding(
    want: int, /, x1: ArrayLike, x2: ArrayLike, label: ArrayLike, *, margin: float = 0.0, **common: Unpack[Common]
) -> Any:
    r"""Cosine embedding loss of pairs: turns vectors of like pairs into one direction, those of unlike pairs apart.

    1 - cos where the label is +1, and max(0, cos - margin) where it is -1, with the cosine of the angle between the two
    vectors. It is 0, and so is the gradient, where one of them is 0. The gradient of cos by x1 is (x2 / |x2| - cos x1 /
    |x1|) / |x1|. 1 - cos keeps its accuracy for vectors that are nearly parallel.

    Parameters
    ----------
    x1 : array_like
        Vectors along the last axis, float32 or float64, with any axes before it: the batch, the shape of the loss.
    x2 : array_like
        The vectors that these are paired with, in the shape of `x1`.
    label : array_like
        +1 for a pair that is alike, else -1; in the shape of the batch.
    margin : float, default 0.0
        The cosine up to which an unlike pair costs nothing; in [-1, 1].

    References
    ----------
    J. Mueller and A. Thyagarajan, Siamese Recurrent Architectures for Learning Sentence Similarity, AAAI 2016, and
    ``torch.nn.CosineEmbeddingLoss``.

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> x1, x2 = np.array([[1.0, 0.0], [3.0, 4.0]]), np.array([[0.0, 2.0], [1.0, 0.0]])
    >>> fl.cosine_embedding(x1, x2, [1, -1], margin=0.5, reduction="none").round(6)
    array([1. , 0.1])
    >>> fl.cosine_embedding.grad(x1, x2, [1, -1], margin=0.5, reduction="none")[1].round(6)
    array([[-0.5,  0. ],
           [ 0. ,  0.8]])
    """
    parameters = (number(margin, "margin", -1, 1),)
    return rows(
        want, "cosine_embedding", ("x1", "x2"), (x1, x2), parameters, common,
        label_name="label", label=label, domain="sign",
    )  # fmt: skip


@VectorLoss
def cosine_distance(want: int, /, pred: ArrayLike, target: ArrayLike, **common: Unpack[Common]) -> Any:
    r"""Cosine distance of predicted from target vectors: their direction counts, their length does not.

    1 - cos, with the cosine of the angle between the two vectors of a row. It is 1, and the gradient 0, where one of
    them is 0. The gradient is (cos p / |p| - t / |t|) / |p|. The loss keeps its accuracy for vectors that are nearly
    parallel.

    Parameters
    ----------
    pred : array_like
        Vectors along the last axis, float32 or float64, with any axes before it: the batch, the shape of the loss.
    target : array_like
        Vectors in the shape of `pred`.

    References
    ----------
    J.-B. Grill et al., Bootstrap Your Own Latent (2020), whose loss is twice this one.

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> value, grad = fl.cosine_distance.value_and_grad(np.array([[3.0, 4.0]]), np.array([[4.0, 3.0]]))
    >>> round(value, 6), grad.round(6)
    (0.04, array([[-0.0448,  0.0336]]))
    """
    return rows(want, "cosine_distance", ("pred", "target"), (pred, target), (), common, differentiable=1)


@Loss
def margin_ranking(
    want: int, /, x1: ArrayLike, x2: ArrayLike, label: ArrayLike, *, margin: float = 0.0, **common: Unpack[Common]
) -> Any:
    r"""Margin ranking loss of pairs of scores: the one that is to rank higher is to exceed the other by a margin.

    max(0, -y (x1 - x2) + margin), elementwise. The gradient is -y by x1 and y by x2 where the loss is > 0, else 0; the
    second derivatives are 0.

    Parameters
    ----------
    x1 : array_like
        Scores of any shape, float32 or float64.
    x2 : array_like
        The scores that these are compared with, in the shape of `x1`.
    label : array_like
        +1 where x1 is to be higher, -1 where x2 is; in the shape of `x1`.
    margin : float, default 0.0
        By how much it is to be higher.

    References
    ----------
    R. Herbrich, T. Graepel and K. Obermayer, Large Margin Rank Boundaries for Ordinal Regression (2000).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> x1, x2 = np.array([2.0, 0.5]), np.array([1.0, 1.0])
    >>> fl.margin_ranking.value_and_grad(x1, x2, [1, 1], margin=0.25, reduction="sum")
    (0.75, (array([ 0., -1.]), array([0., 1.])))
    """
    return elementwise(
        want, "margin_ranking", x1, label, (number(margin, "margin"),), common,
        name="x1", target_name="label", domain="sign", second=("x2", x2, None), same_shape=True, light=True,
    )  # fmt: skip


@Loss
def hinge_embedding(
    want: int, /, x: ArrayLike, label: ArrayLike, *, margin: float = 1.0, **common: Unpack[Common]
) -> Any:
    r"""Hinge embedding loss of distances: those of like pairs are to be small, others at least a margin.

    x where the label is +1, and max(0, margin - x) where it is -1, elementwise. The gradient is 1, and -1 where x <
    margin, else 0; the second derivative is 0.

    Parameters
    ----------
    x : array_like
        Distances, or other measures of being unlike, of any shape, float32 or float64.
    label : array_like
        +1 for a pair that is alike, else -1; in the shape of `x`.
    margin : float, default 1.0
        From where on unlike pairs cost nothing.

    References
    ----------
    ``torch.nn.HingeEmbeddingLoss``; of L1 distances: S. Chopra, R. Hadsell and Y. LeCun, Learning a Similarity Metric
    Discriminatively, CVPR 2005.

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> fl.hinge_embedding.value_and_grad(np.array([0.5, 0.25, 2.0]), [1, -1, -1], reduction="sum")
    (1.25, array([ 1., -1.,  0.]))
    """
    return elementwise(
        want, "hinge_embedding", x, label, (number(margin, "margin"),), common,
        name="x", target_name="label", domain="sign", light=True,
    )  # fmt: skip


def _order(p: float) -> float:
    """The order of a norm."""
    if type(p) is float and p >= 1:  # a call on small arrays feels each check
        return p
    if np.ndim(p) == 0 and p == math.inf:
        return math.inf
    p = number(p, "p")
    if p < 1:
        raise ValueError(f"p must be >= 1, or inf, not {p!r}")
    return p
