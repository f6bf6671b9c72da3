"""Losses of a linear layer: the scores x W^T + b and their loss in one call.

They take `x` and the layer's `weight` and `bias`, and return the gradients with respect to all of them. The scores of
the whole batch never exist, so the number of classes may be large.

* Classes of which one is right: `linear_cross_entropy`, `linear_softmax_focal`, `linear_poly1_cross_entropy`.
* Scores that should be apart by a margin: `linear_multiclass_hinge`.

The arguments `sample_weight`, `reduction`, `normalizer` and `out` are those of every loss: see `fastloss.Loss`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from fastloss._core.calls.linear import linear
from fastloss._core.request.arguments import number
from fastloss._declaration import Linear
from fastloss._loss import loss
from fastloss._parameters import focal, hinge_power
from fastloss.margin import MULTICLASS_HINGE
from fastloss.multiclass import CROSS_ENTROPY, POLY1_CROSS_ENTROPY, SOFTMAX_FOCAL

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastloss._loss import Common

__all__ = ["linear_cross_entropy", "linear_multiclass_hinge", "linear_poly1_cross_entropy", "linear_softmax_focal"]

CHUNK_BYTES = 2**26

LINEAR_CROSS_ENTROPY = Linear("linear_cross_entropy", of_scores=CROSS_ENTROPY)


@loss(LINEAR_CROSS_ENTROPY)
def linear_cross_entropy(
    outputs: int,
    /,
    x: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike,
    *,
    bias: ArrayLike | None = None,
    class_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    chunk_bytes: int = CHUNK_BYTES,
    **common: Unpack[Common],
) -> Any:
    r"""Cross-entropy of a linear layer: `cross_entropy` of the scores x W^T + b, without an array of all scores.

    Use it for the last layer of a classifier or a language model. It needs less memory than a product followed by
    `cross_entropy`, and returns the gradients of the layer.

    W is `weight`, b is `bias` (0 without one), and z are the scores of one sample::

        z = W x + b
        loss = cross_entropy(z, target)

    Parameters
    ----------
    x : array_like
        Vectors, half precision, float32 or float64, along the last axis: (..., D). The unreduced loss has the shape of
        the other axes.
    weight : array_like
        The matrix W in shape (C, D): a row for each class. ``V.T`` of a C-contiguous V in shape (D, C) is not copied.
    target : array_like
        Class indices of any integer dtype, in the shape of `x` without the last axis. Alternatively, probabilities in
        [0, 1], in the shape (..., C).
    bias : array_like, optional
        The vector b in shape (C,).
    class_weight : array_like, optional
        As in `cross_entropy`.
    ignore_index : int, default -100
        As in `cross_entropy`.
    label_smoothing : float, default 0.0
        As in `cross_entropy`.
    z_loss : float, default 0.0
        As in `cross_entropy`.
    chunk_bytes : int, default 2**26
        A limit for the scores that exist at once, in bytes. At least those of one sample exist. See Memory.

    Notes
    -----
    * Mean: the denominator is the same as in `cross_entropy`.
    * Gradient: with g the gradient of `cross_entropy` with respect to z, the gradients are W^T g for x, and the sums of
      g x^T and g over the samples for W and b. They come as a tuple (x, weight), or (x, weight, bias) if a bias is
      given.
    * ``reduction="none"`` gives the losses. Its derivatives raise ValueError, because those of W are sums over samples.
    * Ignored samples take part in no product. NaN in their x reaches nothing.
    * Memory: besides the results, the scores of a chunk of samples, and 1.5 MB. A chunk is one part in 11 of
      all samples, but at least 128 samples and at most 512; it is larger if that takes less than 1 MB, and smaller if
      `chunk_bytes` is less. A small chunk is slow: each costs a pass over W and two over its gradient. Half precision
      adds float32 copies of `x`, `weight` and their gradients. `out` that is an input adds copies of the gradients.
    * Bits: the products are NumPy's. Bits can depend on the number of BLAS threads, and on the layout of `weight`.

    References
    ----------
    E. Wijmans et al., Cut Your Losses in Large-Vocabulary Language Models (2024).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> x = np.array([[1.0, 2.0], [0.0, -1.0]])
    >>> weight, bias = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), np.zeros(3)
    >>> value, (of_x, of_weight, of_bias) = fl.linear_cross_entropy.value_and_grad(x, weight, [2, 0], bias=bias)
    >>> round(value, 6), of_bias.round(4)
    (0.479525, array([-0.1669,  0.2283, -0.0614]))
    >>> round(fl.cross_entropy(x @ weight.T + bias, np.array([2, 0])), 6)
    0.479525

    A classifier is trained with the data loss plus a penalty that leaves the bias alone:

    >>> penalty, of_penalty = fl.l2.value_and_grad(weight, strength=0.01)
    >>> value, of_weight = value + penalty, of_weight + of_penalty
    """
    return linear(
        LINEAR_CROSS_ENTROPY,
        outputs,
        x,
        weight,
        target,
        bias,
        (number(z_loss, "z_loss", 0),),
        common,
        class_weight=class_weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        chunk_bytes=chunk_bytes,
    )


LINEAR_SOFTMAX_FOCAL = Linear("linear_softmax_focal", of_scores=SOFTMAX_FOCAL)


@loss(LINEAR_SOFTMAX_FOCAL)
def linear_softmax_focal(
    outputs: int,
    /,
    x: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike,
    *,
    bias: ArrayLike | None = None,
    gamma: float = 2.0,
    class_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    chunk_bytes: int = CHUNK_BYTES,
    **common: Unpack[Common],
) -> Any:
    r"""Focal loss of a linear layer: `softmax_focal` of the scores x W^T + b, without an array of all scores.

    Use it in place of `linear_cross_entropy` if easy samples outnumber hard ones.

    W is `weight`, b is `bias` (0 without one), and z are the scores of one sample::

        z = W x + b
        loss = softmax_focal(z, target)

    Parameters
    ----------
    x : array_like
        Vectors along the last axis, (..., D): see `linear_cross_entropy`.
    weight : array_like
        The matrix W in shape (C, D).
    target : array_like
        Class indices in the shape of `x` without the last axis, or probabilities in the shape (..., C).
    bias : array_like, optional
        The vector b in shape (C,).
    gamma : float, default 2.0
        As in `softmax_focal`.
    class_weight : array_like, optional
        As in `softmax_focal`.
    ignore_index : int, default -100
        As in `softmax_focal`.
    chunk_bytes : int, default 2**26
        As in `linear_cross_entropy`.

    Notes
    -----
    * Mean: the denominator is the same as in `softmax_focal`.
    * Gradient, memory, bits and ``reduction="none"``: as in `linear_cross_entropy`.

    References
    ----------
    T.-Y. Lin et al., Focal Loss for Dense Object Detection (2017).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> x, weight, target = np.array([[1.0, 2.0], [0.0, -1.0]]), np.eye(2), np.array([1, 0])
    >>> value, (of_x, of_weight) = fl.linear_softmax_focal.value_and_grad(x, weight, target)
    >>> round(value, 6), of_x.round(4)
    (0.022658, array([[ 0.0263, -0.0263],
           [-0.0263,  0.0263]]))
    """
    kernel, parameters = focal("softmax_focal", gamma, None)
    return linear(
        LINEAR_SOFTMAX_FOCAL,
        outputs,
        x,
        weight,
        target,
        bias,
        parameters,
        common,
        class_weight=class_weight,
        ignore_index=ignore_index,
        chunk_bytes=chunk_bytes,
        kernel=kernel,
    )


LINEAR_POLY1_CROSS_ENTROPY = Linear("linear_poly1_cross_entropy", of_scores=POLY1_CROSS_ENTROPY)


@loss(LINEAR_POLY1_CROSS_ENTROPY)
def linear_poly1_cross_entropy(
    outputs: int,
    /,
    x: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike,
    *,
    bias: ArrayLike | None = None,
    epsilon: float = 1.0,
    class_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    chunk_bytes: int = CHUNK_BYTES,
    **common: Unpack[Common],
) -> Any:
    r"""Poly-1 loss of a linear layer: `poly1_cross_entropy` of the scores x W^T + b, without an array of all scores.

    Use it in place of `linear_cross_entropy` to weigh the first term of the Taylor series of cross-entropy by one more
    parameter.

    W is `weight`, b is `bias` (0 without one), and z are the scores of one sample::

        z = W x + b
        loss = poly1_cross_entropy(z, target)

    Parameters
    ----------
    x : array_like
        Vectors along the last axis, (..., D): see `linear_cross_entropy`.
    weight : array_like
        The matrix W in shape (C, D).
    target : array_like
        Class indices in the shape of `x` without the last axis, or probabilities in the shape (..., C).
    bias : array_like, optional
        The vector b in shape (C,).
    epsilon : float, default 1.0
        As in `poly1_cross_entropy`.
    class_weight : array_like, optional
        As in `poly1_cross_entropy`.
    ignore_index : int, default -100
        As in `poly1_cross_entropy`.
    label_smoothing : float, default 0.0
        As in `poly1_cross_entropy`.
    chunk_bytes : int, default 2**26
        As in `linear_cross_entropy`.

    Notes
    -----
    * Mean: the denominator is the same as in `poly1_cross_entropy`.
    * Gradient, memory, bits and ``reduction="none"``: as in `linear_cross_entropy`.

    References
    ----------
    Z. Leng et al., PolyLoss: A Polynomial Expansion Perspective of Classification Loss Functions (2022).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> x, weight, target = np.array([[1.0, 2.0], [0.0, -1.0]]), np.eye(2), np.array([1, 0])
    >>> value, (of_x, of_weight) = fl.linear_poly1_cross_entropy.value_and_grad(x, weight, target)
    >>> round(value, 6), of_x.round(4)
    (0.582203, array([[ 0.2328, -0.2328],
           [-0.2328,  0.2328]]))
    """
    return linear(
        LINEAR_POLY1_CROSS_ENTROPY,
        outputs,
        x,
        weight,
        target,
        bias,
        (number(epsilon, "epsilon"),),
        common,
        class_weight=class_weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        chunk_bytes=chunk_bytes,
    )


LINEAR_MULTICLASS_HINGE = Linear("linear_multiclass_hinge", of_scores=MULTICLASS_HINGE)


@loss(LINEAR_MULTICLASS_HINGE)
def linear_multiclass_hinge(
    outputs: int,
    /,
    x: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike,
    *,
    bias: ArrayLike | None = None,
    margin: float = 1.0,
    power: int = 1,
    class_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    chunk_bytes: int = CHUNK_BYTES,
    **common: Unpack[Common],
) -> Any:
    r"""Multi-class SVM loss of a linear layer: `multiclass_hinge` of the scores x W^T + b, without an array of them.

    Use it to train a linear support vector machine of several classes, together with the penalty `l2`.

    W is `weight`, b is `bias` (0 without one), and z are the scores of one sample with class y, which
    has the weight w_y in `class_weight`::

        z = W x + b
        loss = w_y sum over j != y of max(0, z_j - z_y + margin)^power

    Parameters
    ----------
    x : array_like
        Vectors along the last axis, (..., D): see `linear_cross_entropy`.
    weight : array_like
        The matrix W in shape (C, D).
    target : array_like
        Class indices of any integer dtype, in the shape of `x` without the last axis.
    bias : array_like, optional
        The vector b in shape (C,).
    margin : float, default 1.0
        As in `multiclass_hinge`.
    power : {1, 2}, default 1
        As in `multiclass_hinge`.
    class_weight : array_like, optional
        As in `multiclass_hinge`.
    ignore_index : int, default -100
        As in `multiclass_hinge`.
    chunk_bytes : int, default 2**26
        As in `linear_cross_entropy`.

    Notes
    -----
    * Mean: the denominator is the same as in `multiclass_hinge`.
    * Gradient, memory, bits and ``reduction="none"``: as in `linear_cross_entropy`.

    References
    ----------
    J. Weston and C. Watkins, Support Vector Machines for Multi-Class Pattern Recognition (1999).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> x, weight, target = np.array([[1.0, 2.0], [0.0, -0.5]]), np.eye(2), np.array([0, 0])
    >>> value, (of_x, of_weight) = fl.linear_multiclass_hinge.value_and_grad(x, weight, target)
    >>> value, of_weight
    (1.25, array([[-0.5 , -0.75],
           [ 0.5 ,  0.75]]))
    """
    return linear(
        LINEAR_MULTICLASS_HINGE,
        outputs,
        x,
        weight,
        target,
        bias,
        (number(margin, "margin"),),
        common,
        class_weight=class_weight,
        ignore_index=ignore_index,
        chunk_bytes=chunk_bytes,
        kernel=hinge_power("multiclass_hinge", power),
    )
