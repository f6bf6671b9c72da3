"""Losses of pairs and triplets: of vectors, compared by distance or angle, and of ready-made scores and distances.

Choose by what the inputs hold:

* Pairs of vectors, compared by their Euclidean distance: `contrastive`.
* Pairs of vectors, compared by their angle: `cosine_embedding` with labels, `cosine_distance` without.
* An anchor, a vector like it and a vector unlike it: `triplet`.
* Pairs of scores of which one must be higher: `margin_ranking`.
* Distances that are computed already: `hinge_embedding`.

If every vector of a batch must be compared with every other, take a loss of `fastloss.in_batch`.

The arguments `sample_weight`, `reduction`, `normalizer` and `out` are those of every loss: see `fastloss.Loss`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from fastloss._core.calls.elementwise import elementwise
from fastloss._core.calls.vectors import vectors
from fastloss._core.request.arguments import number
from fastloss._core.request.checks import flag
from fastloss._core.request.domains import Domain
from fastloss._declaration import PRED, TARGET, Elementwise, Input, Vectors
from fastloss._loss import loss

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastloss._loss import Common

__all__ = [
    "contrastive",
    "cosine_distance",
    "cosine_embedding",
    "hinge_embedding",
    "margin_ranking",
    "triplet",
]

X1, X2 = Input("x1", differentiable=True), Input("x2", differentiable=True)

CONTRASTIVE = Vectors("contrastive", (X1, X2, Input("same", Domain.ZERO_OR_ONE, shape="batch")))


@loss(CONTRASTIVE)
def contrastive(
    outputs: int, /, x1: ArrayLike, x2: ArrayLike, same: ArrayLike, *, margin: float = 1.0, **common: Unpack[Common]
) -> Any:
    r"""Contrastive loss of pairs of vectors, by their Euclidean distance.

    Use it to move pairs of the same kind together, and other pairs apart up to a margin. To compare angles instead of
    distances, take `cosine_embedding`; if only the order of two distances matters, take `triplet`.

    d is the Euclidean distance between the vectors `x1` and `x2` of a pair::

        loss = d^2 / 2                       where `same` is 1
        loss = max(0, margin - d)^2 / 2      where `same` is 0

    Parameters
    ----------
    x1 : array_like
        The first vector of each pair, along the last axis, half precision, float32 or float64. The axes before it are
        the batch; the unreduced loss has their shape.
    x2 : array_like
        The second vector of each pair, in the shape of `x1`.
    same : array_like
        1 for a pair of the same kind, 0 for another pair, in the shape of the batch. Any other value raises ValueError.
    margin : float, default 1.0
        A distance. It must be finite and >= 0. It has the unit of the vectors. A pair of different kinds costs nothing
        from this distance on.

    Notes
    -----
    * Mean: the denominator is the sum of `sample_weight`, or the number of pairs if there are no weights.
    * Gradient with respect to x1: x1 - x2 for a pair of the same kind. For another pair closer than the margin:
      -(margin - d) (x1 - x2) / d.
    * Gradient with respect to x2: minus the gradient with respect to x1.
    * A pair of different kinds at distance 0 has the gradient 0, because no direction leads apart.
    * Special values: NaN in a vector gives a NaN loss and NaN gradients for its pair.

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
    return vectors(CONTRASTIVE, outputs, (x1, x2), (number(margin, "margin", 0),), common, label=same)


TRIPLET = Vectors("triplet", tuple(Input(name, differentiable=True) for name in ("anchor", "positive", "negative")))


@loss(TRIPLET)
def triplet(
    outputs: int,
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
    r"""Triplet margin loss: an anchor must be closer to its positive than to its negative, by a margin.

    Use it if only the order of distances matters and the triplets are chosen already. To choose the hardest triplets of
    a batch, take `batch_hard_triplet`.

    a, b and n are the vectors `anchor`, `positive` and `negative`. d is the distance by the norm of order `p`::

        d(x, y) = norm_p(x - y + eps)
        loss    = max(0, d(a, b) - d(a, n) + margin)

    With `swap`, d(a, n) is replaced by the smaller one of d(a, n) and d(b, n).

    Parameters
    ----------
    anchor : array_like
        The anchors, vectors along the last axis, half precision, float32 or float64. The axes before it are the batch;
        the unreduced loss has their shape.
    positive : array_like
        Vectors that are like the anchors, in the shape of `anchor`.
    negative : array_like
        Vectors that are not like the anchors, in the shape of `anchor`.
    margin : float, default 1.0
        Any finite number, in the unit of the distances. The negative must be farther away than the positive by this
        much.
    p : float, default 2.0
        The order of the norm, from 1 to inf. The orders 1, 2 and inf are fast. Other orders compute powers of the
        elements.
    eps : float, default 1e-6
        A number >= 0 that is added to each element of a difference.
    swap : bool, default False
        Whether the negative is compared with the nearer one of anchor and positive.

    Notes
    -----
    * Mean: the denominator is the sum of `sample_weight`, or the number of triplets if there are no weights.
    * Gradient: where the loss is > 0, it is the gradient of d(a, b) minus the gradient of d(a, n). Elsewhere it is 0,
      also at the kink.
    * A distance of 0 has the gradient 0.
    * With p=inf, elements with the same largest size share the gradient.
    * With `swap`, if d(a, n) = d(b, n), each gets half of the gradient.
    * Accuracy: powers are summed in double precision and without overflow.
    * Special values: NaN in a vector gives a NaN loss and NaN gradients for its triplet.

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
    kernel = "triplet_swap" if flag(swap, "swap") else "triplet"
    parameters, order, eps = (number(margin, "margin"),), number(p, "p", 1, infinite=True), number(eps, "eps", 0)
    return vectors(TRIPLET, outputs, (anchor, positive, negative), parameters, common, kernel=kernel, p=order, eps=eps)


COSINE_EMBEDDING = Vectors("cosine_embedding", (X1, X2, Input("label", Domain.SIGN, shape="batch")))


@loss(COSINE_EMBEDDING)
def cosine_embedding(
    outputs: int, /, x1: ArrayLike, x2: ArrayLike, label: ArrayLike, *, margin: float = 0.0, **common: Unpack[Common]
) -> Any:
    r"""Cosine embedding loss of pairs of vectors with labels -1 and +1, by the angle between them.

    Use it if only the directions of the vectors matter: it turns like pairs into one direction, and unlike pairs apart.
    If all pairs are alike and only one vector of each is trained, take `cosine_distance`; to compare distances, take
    `contrastive`.

    cos is the cosine of the angle between the vectors `x1` and `x2` of a pair::

        loss = 1 - cos                  where `label` is +1
        loss = max(0, cos - margin)     where `label` is -1

    Parameters
    ----------
    x1 : array_like
        The first vector of each pair, along the last axis, half precision, float32 or float64. The axes before it are
        the batch; the unreduced loss has their shape.
    x2 : array_like
        The second vector of each pair, in the shape of `x1`.
    label : array_like
        +1 for a pair that is alike, -1 for another pair, in the shape of the batch. Any other value raises ValueError.
    margin : float, default 0.0
        A cosine in [-1, 1]. An unlike pair costs nothing up to this cosine.

    Notes
    -----
    * Mean: the denominator is the sum of `sample_weight`, or the number of pairs if there are no weights.
    * Gradient of cos with respect to x1: (x2 / |x2| - cos x1 / |x1|) / |x1|. The gradient with respect to x2 has x1 and
      x2 exchanged. The gradient of the loss is minus this for a like pair. It is this for an unlike pair with
      cos > margin, and 0 for another unlike pair.
    * At the kink, cos = margin with label -1, the gradient is 0.
    * If one of the two vectors is 0, cos is 0 and both gradients are 0.
    * Accuracy: 1 - cos keeps its accuracy for vectors that are nearly parallel.

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
    return vectors(COSINE_EMBEDDING, outputs, (x1, x2), (number(margin, "margin", -1, 1),), common, label=label)


COSINE_DISTANCE = Vectors("cosine_distance", (PRED, TARGET))


@loss(COSINE_DISTANCE)
def cosine_distance(outputs: int, /, pred: ArrayLike, target: ArrayLike, **common: Unpack[Common]) -> Any:
    r"""Cosine distance between predicted and target vectors: 1 minus the cosine of their angle.

    Use it if the direction of a vector matters and its length does not. If some pairs must point apart, take
    `cosine_embedding`; if the length matters too, take `mse`.

    p and t are the vectors of `pred` and `target`, and |p| is the length of p::

        loss = 1 - cos,  cos = p . t / (|p| |t|)

    Parameters
    ----------
    pred : array_like
        Predicted vectors along the last axis, half precision, float32 or float64. The axes before it are the batch; the
        unreduced loss has their shape.
    target : array_like
        Target vectors, in the shape of `pred`. They have no gradient.

    Notes
    -----
    * Mean: the denominator is the sum of `sample_weight`, or the number of vectors if there are no weights.
    * Gradient: (cos p / |p| - t / |t|) / |p|.
    * If one of the two vectors is 0, the loss is 1 and the gradient is 0.
    * Accuracy: the loss keeps its accuracy for vectors that are nearly parallel.

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
    return vectors(COSINE_DISTANCE, outputs, (pred, target), (), common)


MARGIN_RANKING = Elementwise(
    "margin_ranking",
    (Input("x1", differentiable=True), Input("x2", differentiable=True), Input("label", Domain.SIGN)),
    light=True,
)


@loss(MARGIN_RANKING)
def margin_ranking(
    outputs: int, /, x1: ArrayLike, x2: ArrayLike, label: ArrayLike, *, margin: float = 0.0, **common: Unpack[Common]
) -> Any:
    r"""Margin ranking loss of pairs of scores: the score that must rank higher must exceed the other by a margin.

    Use it if you know for each pair of scores which one is the better. If the inputs are vectors and not scores, take
    `triplet`.

    y is `label`::

        loss = max(0, -y (x1 - x2) + margin)

    Parameters
    ----------
    x1 : array_like
        Scores of any shape, half precision, float32 or float64. Each element has its own loss.
    x2 : array_like
        The scores that they are compared with, in the shape of `x1`.
    label : array_like
        +1 where x1 must be higher, -1 where x2 must be higher, in the shape of `x1`. Any other value raises ValueError.
    margin : float, default 0.0
        Any finite number, in the unit of the scores. The better score must be higher by this much.

    Notes
    -----
    * Mean: the denominator is the sum of `sample_weight`, or the number of pairs if there are no weights.
    * Gradient with respect to x1: -y where the loss is > 0, else 0. At the kink it is 0.
    * Gradient with respect to x2: minus the gradient with respect to x1.
    * Second derivatives: 0.
    * Special values: a NaN score gives a NaN loss and gradient.

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
    return elementwise(MARGIN_RANKING, outputs, x1, label, (number(margin, "margin"),), common, third=x2)


HINGE_EMBEDDING = Elementwise(
    "hinge_embedding", (Input("x", differentiable=True), Input("label", Domain.SIGN)), light=True
)


@loss(HINGE_EMBEDDING)
def hinge_embedding(
    outputs: int, /, x: ArrayLike, label: ArrayLike, *, margin: float = 1.0, **common: Unpack[Common]
) -> Any:
    r"""Hinge embedding loss of distances: small for like pairs, at least a margin for unlike pairs.

    Use it if you have a distance for each pair already, in any measure. If you have the vectors, take `contrastive` for
    Euclidean distances, or `cosine_embedding` for angles.

    Each element of `x` has its own loss::

        loss = x                        where `label` is +1
        loss = max(0, margin - x)       where `label` is -1

    Parameters
    ----------
    x : array_like
        Distances, or other measures of how unlike a pair is, of any shape, half precision, float32 or float64. Negative
        values are allowed.
    label : array_like
        +1 for a pair that is alike, -1 for another pair, in the shape of `x`. Any other value raises ValueError.
    margin : float, default 1.0
        Any finite number, in the unit of `x`. An unlike pair costs nothing where x >= margin.

    Notes
    -----
    * Mean: the denominator is the sum of `sample_weight`, or the number of elements if there are no weights.
    * Gradient where the label is +1: 1.
    * Gradient where the label is -1: -1 where x < margin, else 0. At the kink, x = margin, it is 0.
    * Second derivative: 0.
    * Special values: a NaN in `x` gives a NaN loss and gradient.

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
    return elementwise(HINGE_EMBEDDING, outputs, x, label, (number(margin, "margin"),), common)
