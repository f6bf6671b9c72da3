"""Losses of embeddings, vectors whose distances or angles are to say what is alike: metric and contrastive learning.

The arguments `sample_weight`, `reduction`, `normalizer` and `out` are those of every loss: see `fastloss.Loss`.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from fastloss import _checks, _pairs
from fastloss._loss import Loss
from fastloss.kernels.call import elementwise, number, pairs, rows

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastloss._loss import Common

__all__ = [
    "batch_hard_triplet",
    "clip",
    "contrastive",
    "cosine_distance",
    "cosine_embedding",
    "hinge_embedding",
    "info_nce",
    "margin_ranking",
    "nt_xent",
    "siglip",
    "supcon",
    "triplet",
]

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
    vectors. The cosine is 0, and so is the gradient, where one of them is 0. The gradient of cos by x1 is (x2 / |x2| -
    cos x1 / |x1|) / |x1|. 1 - cos keeps its accuracy for vectors that are nearly parallel.

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


@VectorLoss
def info_nce(
    want: int,
    /,
    query: ArrayLike,
    key: ArrayLike,
    *,
    temperature: float = 0.07,
    symmetric: bool = False,
    **common: Unpack[Common],
) -> Any:
    r"""InfoNCE: cross-entropy of telling which key belongs to each query, the other keys of the batch being negatives.

    Row i of `query` belongs to row i of `key`. With similarities s_ij = query_i . key_j / temperature::

        log(sum_j exp(s_ij)) - s_ii

    and with `symmetric` the mean of this and of its transpose, log(sum_j exp(s_ji)) - s_ii. The vectors are used as
    given: normalise them where cosines are meant, u = x / |x|; from the gradient g by u, that by x is then
    (g - (g . u) u) / |x|. The loss keeps its relative accuracy where it is small, and a temperature of 0.001 does no
    harm. The N x N similarities of a large batch never exist at once: the memory needed is that of two gradients and a
    tile of 4 MB (float32), or up to 16 MB for the similarities of a symmetric loss of up to 2048 pairs. Symmetric
    losses of more, and batches above 8192, take one product of matrices more than the three that the similarities and
    two gradients take.

    The gradient is that of the sum of the weighted losses also where ``reduction="none"``: a vector takes part in many
    of them. A sample of weight 0 is left out altogether, as query and as key; other weights are those of the samples'
    losses. The products are NumPy's: the result is as reproducible as these. A similarity of -inf rules a pair out.

    Parameters
    ----------
    query : array_like
        Vectors as rows, (N, D), float32 or float64. The shape of the loss is (N,).
    key : array_like
        The vectors that these belong to, (N, D).
    temperature : float, default 0.07
        Divides the similarities; > 0.
    symmetric : bool, default False
        Whether keys have to tell their queries, too.

    References
    ----------
    A. van den Oord, Y. Li and O. Vinyals, Representation Learning with Contrastive Predictive Coding (2018).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> query, key = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [1.0, 1.0]])
    >>> fl.info_nce(query, key, temperature=1.0, reduction="none")
    array([0.69314718, 0.31326169])
    >>> value, (grad_query, grad_key) = fl.info_nce.value_and_grad(query, key, temperature=1.0, reduction="sum")
    >>> grad_query.round(4)
    array([[ 0.    ,  0.5   ],
           [ 0.    , -0.2689]])
    """
    options = {
        "temperature": number(temperature, "temperature", 0, above=True),
        "symmetric": _checks.flag(symmetric, "symmetric"),
    }
    return pairs(want, "info_nce", (("query", query), ("key", key)), partial(_pairs.info_nce, **options), common)


@VectorLoss
def clip(want: int, /, image: ArrayLike, text: ArrayLike, logit_scale: ArrayLike, **common: Unpack[Common]) -> Any:
    r"""CLIP's loss of a batch of matching pairs, with a learned scale: cross-entropy of the match, in both directions.

    Row i of `image` belongs to row i of `text`. With similarities s_ij = logit_scale image_i . text_j, the mean of
    log(sum_j exp(s_ij)) - s_ii and log(sum_j exp(s_ji)) - s_ii: the symmetric `info_nce`, with a gradient for the
    scale too. Scale and vectors are used as given; CLIP normalises the vectors and learns the logarithm of the scale,
    whose slope is `logit_scale` times the slope here. As for the gradient of normalising, accuracy, memory, weights and
    ``reduction="none"``, see `info_nce`.

    Parameters
    ----------
    image : array_like
        Vectors as rows, (N, D), float32 or float64. The shape of the loss is (N,).
    text : array_like
        The vectors that these belong to, (N, D).
    logit_scale : float or array_like
        A number; its gradient is a 0-dimensional array.

    References
    ----------
    A. Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021.

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> image, text = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [0.6, 0.8]])
    >>> fl.clip(image, text, 2.0, reduction="none").round(4)
    array([0.249 , 0.3485])
    >>> grad_image, grad_text, grad_scale = fl.clip.grad(image, text, 2.0)
    >>> round(float(grad_scale), 4)
    -0.1145
    """
    inputs = (("image", image), ("text", text))
    return pairs(want, "clip", inputs, _pairs.clip, common, numbers=(("logit_scale", logit_scale),))


@VectorLoss
def siglip(
    want: int,
    /,
    image: ArrayLike,
    text: ArrayLike,
    logit_scale: ArrayLike,
    logit_bias: ArrayLike,
    **common: Unpack[Common],
) -> Any:
    r"""SigLIP's loss of a batch of matching pairs: a yes or no for each pair, without a softmax over the batch.

    Row i of `image` belongs to row i of `text`. The loss of row i is::

        sum_j softplus(-y_ij (logit_scale image_i . text_j + logit_bias))        y_ii = 1, else -1

    and "mean" is that over the N rows. Scale and bias are used as given; SigLIP normalises the vectors, learns the
    logarithm of the scale, and begins with a scale of 10 and a bias of -10, against the many negatives. It is cheaper
    than `clip`, three matrix products and one pass. As for the gradient of normalising, memory, weights (those of the
    images' rows) and ``reduction="none"``, see `info_nce`.

    Parameters
    ----------
    image : array_like
        Vectors as rows, (N, D), float32 or float64. The shape of the loss is (N,).
    text : array_like
        The vectors that these belong to, (N, D).
    logit_scale : float or array_like
        A number; its gradient is a 0-dimensional array.
    logit_bias : float or array_like
        A number, as the scale is.

    References
    ----------
    X. Zhai, B. Mustafa, A. Kolesnikov and L. Beyer, Sigmoid Loss for Language Image Pre-Training, ICCV 2023.

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> image, text = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [0.6, 0.8]])
    >>> fl.siglip(image, text, 10.0, -5.0, reduction="none").round(4)
    array([1.32  , 0.0553])
    >>> *_, grad_scale, grad_bias = fl.siglip.grad(image, text, 10.0, -5.0)
    >>> round(float(grad_scale), 4), round(float(grad_bias), 4)
    (0.197, 0.3418)
    """
    inputs, numbers = (("image", image), ("text", text)), (("logit_scale", logit_scale), ("logit_bias", logit_bias))
    return pairs(want, "siglip", inputs, _pairs.siglip, common, numbers=numbers)


@VectorLoss
def nt_xent(want: int, /, z1: ArrayLike, z2: ArrayLike, *, temperature: float = 0.5, **common: Unpack[Common]) -> Any:
    r"""NT-Xent, SimCLR's loss of two views of each sample: each of the 2N vectors has to tell its other view.

    All 2N vectors are divided by their lengths first. With similarities s_ab = u_a . u_b / temperature of all of them,
    the loss of vector a, whose other view is b, is::

        log(sum_{c != a} exp(s_ac)) - s_ab

    and that of a pair the mean of its two. The gradient goes through the normalisation. A zero vector counts as it is,
    and its gradient is 0. The work is that of two matrix products of size 2N: similarities are symmetric. As for
    accuracy, memory, weights (those of the pairs) and ``reduction="none"``, see `info_nce`; vectors of unit length and
    their gradients take as much memory as the inputs and gradients again.

    Parameters
    ----------
    z1 : array_like
        The first views, vectors as rows, (N, D), float32 or float64. The shape of the loss is (N,).
    z2 : array_like
        The second views, (N, D).
    temperature : float, default 0.5
        Divides the similarities; > 0.

    References
    ----------
    T. Chen, S. Kornblith, M. Norouzi and G. Hinton, A Simple Framework for Contrastive Learning of Visual
    Representations, ICML 2020.

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> z1, z2 = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[3.0, 0.0], [0.0, -1.0]])
    >>> fl.nt_xent(z1, z2, temperature=1.0, reduction="none").round(4)
    array([0.5514, 1.862 ])
    """
    run = partial(_pairs.nt_xent, temperature=number(temperature, "temperature", 0, above=True))
    return pairs(want, "nt_xent", (("z1", z1), ("z2", z2)), run, common)


@VectorLoss
def supcon(want: int, /, z: ArrayLike, labels: ArrayLike, *, temperature: float = 0.1, **common: Unpack[Common]) -> Any:
    r"""Supervised contrastive loss: draws samples of one class together, away from all others of the batch.

    With similarities s_ij = z_i . z_j / temperature, and P(i) the other samples with the label of i::

        log(sum_{j != i} exp(s_ij)) - mean_{j in P(i)} s_ij

    which is L_out of Khosla et al. A sample without positives has no loss, but is a negative of the others; "mean" is
    that over the samples with positives. The vectors are used as given: normalise them where cosines are meant. As for
    the gradient of that, accuracy, memory, weights and ``reduction="none"``, see `info_nce`. The work is that of two
    matrix products.

    Parameters
    ----------
    z : array_like
        Vectors as rows, (N, D), float32 or float64. The shape of the loss is (N,).
    labels : array_like
        Class labels, (N,): any integers.
    temperature : float, default 0.1
        Divides the similarities; > 0.

    References
    ----------
    P. Khosla et al., Supervised Contrastive Learning, NeurIPS 2020.

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> z = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    >>> fl.supcon(z, [7, 7, 4], temperature=1.0, reduction="none").round(4)
    array([0.3711, 0.5981, 0.    ])
    >>> round(fl.supcon(z, [7, 7, 4], temperature=1.0), 4)
    0.4846
    """
    run = partial(_pairs.supcon, temperature=number(temperature, "temperature", 0, above=True))
    return pairs(want, "supcon", (("z", z),), run, common, labels=labels, counts=_pairs.has_positives)


@VectorLoss
def batch_hard_triplet(
    want: int,
    /,
    z: ArrayLike,
    labels: ArrayLike,
    *,
    margin: float = 1.0,
    soft: bool = False,
    **common: Unpack[Common],
) -> Any:
    r"""Triplet loss with the hardest triplets of the batch: each sample with its farthest positive, nearest negative.

    With the Euclidean distance d_p of sample i from the farthest sample of its class, and d_n from the nearest one of
    another class::

        max(0, d_p - d_n + margin)        or with `soft`        softplus(d_p - d_n)

    A sample without positives, or without negatives, has no loss, but is there for the others; "mean" is that over the
    samples with both. Of equally distant samples the first is taken, of negatives that with the smallest label. The
    gradient goes to the three vectors of each triplet; that of a distance 0 is 0, as is the hinge's at the kink. The
    distances are chosen from products of the centred vectors, in the precision of the input, and then measured in
    double precision. As for memory, weights and ``reduction="none"``, see `info_nce`.

    Parameters
    ----------
    z : array_like
        Vectors as rows, (N, D), float32 or float64. The shape of the loss is (N,).
    labels : array_like
        Class labels, (N,): any integers.
    margin : float, default 1.0
        How much farther negatives have to be than positives; >= 0. Not used with `soft`.
    soft : bool, default False
        Whether to take the softplus of the difference in place of the hinge: it never stops pulling.

    References
    ----------
    A. Hermans, L. Beyer and B. Leibe, In Defense of the Triplet Loss for Person Re-Identification (2017).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> z = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 4.5]])
    >>> fl.batch_hard_triplet(z, [0, 0, 1], reduction="none").round(4)
    array([1.5   , 2.9586, 0.    ])
    >>> round(fl.batch_hard_triplet(z, [0, 0, 1]), 4)
    2.2293
    """
    options = {"margin": number(margin, "margin", 0), "soft": _checks.flag(soft, "soft")}
    run = partial(_pairs.batch_hard_triplet, **options)
    return pairs(want, "batch_hard_triplet", (("z", z),), run, common, labels=labels, counts=_pairs.has_both)
