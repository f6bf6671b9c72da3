"""Losses of a batch of vectors in which every sample is compared with every other: contrastive and metric learning.

Choose by what tells you which vectors belong together:

* Two arrays whose rows match: `info_nce`, `clip` (with a learned scale), `siglip` (without a softmax over the batch),
  `nt_xent` (two views of each sample, normalised inside).
* Class labels: `supcon`, `batch_hard_triplet`.

If pairs or triplets are chosen already, take a loss of `fastloss.embedding`.

The arguments `sample_weight`, `reduction`, `normalizer` and `out` are those of every loss: see `fastloss.Loss`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from fastloss._core.calls import batches
from fastloss._core.request.arguments import number
from fastloss._core.request.checks import flag
from fastloss._core.request.domains import Domain
from fastloss._declaration import Batches, Input
from fastloss._loss import loss

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastloss._loss import Common

__all__ = [
    "batch_hard_triplet",
    "clip_loss",
    "info_nce",
    "nt_xent",
    "siglip",
    "supcon",
]

IMAGE, TEXT = Input("image", differentiable=True), Input("text", differentiable=True)
LOGIT_SCALE = Input("logit_scale", Domain.NOT_NEGATIVE, differentiable=True, shape="number")
Z, LABELS = Input("z", differentiable=True), Input("labels", shape="batch")

INFO_NCE = Batches("info_nce", (Input("query", differentiable=True), Input("key", differentiable=True)))


@loss(INFO_NCE)
def info_nce(
    outputs: int,
    /,
    query: ArrayLike,
    key: ArrayLike,
    *,
    temperature: float = 0.07,
    symmetric: bool = False,
    **common: Unpack[Common],
) -> Any:
    r"""InfoNCE: the cross-entropy of finding the key of each query among all keys of the batch.

    Use it if row i of one array belongs to row i of another, and the other rows serve as negatives. For a learned scale
    take `clip`; for two views of the same samples take `nt_xent`.

    q_i and k_i are row i of `query` and `key`::

        s_ij   = q_i . k_j / temperature
        loss_i = log(sum_j exp(s_ij)) - s_ii

    With `symmetric`, the loss is the mean of this and of log(sum_j exp(s_ji)) - s_ii: each key must find its query,
    too. The vectors are used as given. To compare cosines, normalise the vectors first: see the second example.

    Parameters
    ----------
    query : array_like
        Vectors as rows, (N, D), half precision, float32 or float64. The unreduced loss has shape (N,).
    key : array_like
        Vectors as rows, (N, D). Row i belongs to row i of `query`.
    temperature : float, default 0.07
        A finite number > 0. It divides the similarities.
    symmetric : bool, default False
        Whether each key must find its query, too.

    Notes
    -----
    * Mean: the denominator is the sum of `sample_weight`, or N if there are no weights.
    * Gradient of the sum of the losses, without `symmetric` and weights: (P - I) key / temperature with respect to
      `query`, and (P - I)^T query / temperature with respect to `key`. Each row of P is the softmax of the same row of
      s, and I is the identity matrix.
    * Gradient under ``reduction="none"``: it is that of the sum of the weighted losses, because each vector takes part
      in many losses.
    * Weights: a sample with weight 0 is left out completely, as query and as key. Any other weight multiplies only the
      loss of its sample.
    * Normalisation: let u = x / |x|, and let g be the gradient with respect to u. Then the gradient with respect to x
      is (g - (g . u) u) / |x|.
    * Accuracy: the loss keeps its relative accuracy where it is small. A temperature as small as 0.001 is safe.
    * Special values: a similarity of -inf excludes a wrong key from the loss of a query. If a vector holds inf,
      gradients can be NaN. A NaN in a key makes all losses NaN.
    * Memory: the N x N similarities of a large batch never exist at once. A call needs the memory of two gradients and
      a tile of 4 MB (float32). A symmetric loss of up to 2048 pairs needs up to 16 MB (float32) for its similarities
      instead of the tile.
    * Work: the similarities and the two gradients take three matrix products. Symmetric losses of more than 2048 pairs,
      and other losses of more than 8192 pairs, take a fourth.
    * Reproducibility: the matrix products are those of NumPy. The result is as reproducible as they are.

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

    Normalise the queries `x`, and take the gradient back through the normalisation:

    >>> x, key = np.array([[3.0, 4.0], [0.0, 2.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> length = np.linalg.norm(x, axis=1, keepdims=True)
    >>> u = x / length
    >>> g, _ = fl.info_nce.grad(u, key, temperature=0.5)
    >>> grad_x = (g - (g * u).sum(axis=1, keepdims=True) * u) / length
    >>> grad_x.round(4)
    array([[-0.1341,  0.1006],
           [ 0.0596,  0.    ]])
    """
    temperature, symmetric = number(temperature, "temperature", 0, above=True), flag(symmetric, "symmetric")
    return batches.info_nce(INFO_NCE, outputs, query, key, common, temperature, symmetric)


CLIP = Batches("clip", (IMAGE, TEXT, LOGIT_SCALE))


@loss(CLIP)
def clip(outputs: int, /, image: ArrayLike, text: ArrayLike, logit_scale: ArrayLike, **common: Unpack[Common]) -> Any:
    r"""CLIP's loss of matching pairs, with a learned scale: each image must find its text, and each text its image.

    Use it to train two encoders whose vectors must match, for example of images and texts. For a fixed scale take
    `info_nce`; to avoid the softmax over the batch, take `siglip`.

    x_i and y_i are row i of `image` and `text`::

        s_ij   = logit_scale x_i . y_j
        loss_i = (log(sum_j exp(s_ij)) + log(sum_j exp(s_ji))) / 2 - s_ii

    This is the symmetric `info_nce` with temperature 1 / logit_scale, and with a gradient for the scale too.
    `logit_scale` is the factor itself. In CLIP's code the learned parameter is the logarithm of the factor: see the
    second example. The vectors are used as given; CLIP normalises them first.

    `clip_loss` is another name of this loss. It is the one that ``from fastloss import *`` imports, because `clip` is
    also the name of a function of NumPy.

    Parameters
    ----------
    image : array_like
        Vectors as rows, (N, D), half precision, float32 or float64. The unreduced loss has shape (N,).
    text : array_like
        Vectors as rows, (N, D). Row i belongs to row i of `image`.
    logit_scale : float or array_like
        A finite number >= 0, the factor of the similarities. A negative number raises ValueError. An array must be
        0-dimensional; another shape raises ValueError.

    Notes
    -----
    * Mean: the denominator is the sum of `sample_weight`, or N if there are no weights.
    * The gradients are those with respect to `image`, `text` and `logit_scale`. The last one is a 0-dimensional array.
    * Learned logarithm: the gradient with respect to log(logit_scale) is logit_scale times the gradient with respect to
      `logit_scale`.
    * See `info_nce` for the notes on normalisation, accuracy, memory, weights and ``reduction="none"``.

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

    Learn the logarithm of the scale, as CLIP's code does:

    >>> log_scale = np.log(2.0)
    >>> scale = np.exp(log_scale)
    >>> value, (grad_image, grad_text, grad_scale) = fl.clip.value_and_grad(image, text, scale)
    >>> grad_log_scale = scale * grad_scale
    >>> round(float(grad_log_scale), 4)
    -0.2289
    """
    return batches.clip(CLIP, outputs, image, text, logit_scale, common)


clip_loss = clip


SIGLIP = Batches("siglip", (IMAGE, TEXT, LOGIT_SCALE, Input("logit_bias", differentiable=True, shape="number")))


@loss(SIGLIP)
def siglip(
    outputs: int,
    /,
    image: ArrayLike,
    text: ArrayLike,
    logit_scale: ArrayLike,
    logit_bias: ArrayLike,
    **common: Unpack[Common],
) -> Any:
    r"""SigLIP's loss of a batch of matching pairs: a yes or no for each image and text, without a softmax.

    Use it for the same task as `clip`. It is cheaper: three matrix products and one pass.

    x_i and y_i are row i of `image` and `text`, and softplus(a) = log(1 + exp(a))::

        s_ij   = logit_scale x_i . y_j + logit_bias
        loss_i = softplus(-s_ii) + sum over j != i of softplus(s_ij)

    The vectors, the scale and the bias are used as given. SigLIP normalises the vectors and learns the logarithm of the
    scale. It begins with a scale of 10 and a bias of -10, because most pairs are negative.

    Parameters
    ----------
    image : array_like
        Vectors as rows, (N, D), half precision, float32 or float64. The unreduced loss has shape (N,).
    text : array_like
        Vectors as rows, (N, D). Row i belongs to row i of `image`.
    logit_scale : float or array_like
        A finite number >= 0, the factor of the similarities. A negative number raises ValueError. An array must be
        0-dimensional; another shape raises ValueError.
    logit_bias : float or array_like
        A finite number that is added to the similarities. An array must be 0-dimensional; another shape raises
        ValueError.

    Notes
    -----
    * Mean: the denominator is the sum of `sample_weight`, or N if there are no weights. It is the number of rows, not
      of pairs.
    * The gradients are those with respect to `image`, `text`, `logit_scale` and `logit_bias`. The last two are
      0-dimensional arrays.
    * Learned logarithm: the gradient with respect to log(logit_scale) is logit_scale times the gradient with respect to
      `logit_scale`.
    * Weights: `sample_weight` belongs to the rows of `image`. A sample with weight 0 is left out completely, as image
      and as text.
    * See `info_nce` for the notes on normalisation, memory and ``reduction="none"``.

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
    return batches.siglip(SIGLIP, outputs, image, text, logit_scale, logit_bias, common)


NT_XENT = Batches("nt_xent", (Input("z1", differentiable=True), Input("z2", differentiable=True)))


@loss(NT_XENT)
def nt_xent(
    outputs: int, /, z1: ArrayLike, z2: ArrayLike, *, temperature: float = 0.5, **common: Unpack[Common]
) -> Any:
    r"""NT-Xent, SimCLR's loss of two views of each sample: each of the 2N vectors must find its other view.

    Use it for two views of the same samples, without labels. If the two arrays come from different encoders, take
    `info_nce` or `clip`; if there are class labels, take `supcon`.

    u_a are the 2N vectors of `z1` and `z2`, each divided by its length. Vector b is the other view of vector a::

        s_ab   = u_a . u_b / temperature
        loss_a = log(sum over c != a of exp(s_ac)) - s_ab

    The loss of a sample is the mean of the losses of its two vectors.

    Parameters
    ----------
    z1 : array_like
        The first views, vectors as rows, (N, D), half precision, float32 or float64. The unreduced loss has shape (N,).
    z2 : array_like
        The second views, (N, D). Row i is a view of the sample of row i of `z1`.
    temperature : float, default 0.5
        A finite number > 0. It divides the similarities.

    Notes
    -----
    * Mean: the denominator is the sum of `sample_weight`, or N if there are no weights. A weight belongs to both views
      of a sample.
    * The gradients are those with respect to `z1` and `z2`. They include the normalisation.
    * A zero vector stays 0 in the normalisation, and its gradient is 0.
    * Memory: in addition to what is described for `info_nce`, the vectors of unit length and their gradients need as
      much memory as the inputs and the gradients.
    * Work: two matrix products of 2N vectors, because the similarities are symmetric.
    * See `info_nce` for the notes on accuracy, weights and ``reduction="none"``.

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
    return batches.nt_xent(NT_XENT, outputs, z1, z2, common, number(temperature, "temperature", 0, above=True))


SUPCON = Batches("supcon", (Z, LABELS))


@loss(SUPCON)
def supcon(
    outputs: int, /, z: ArrayLike, labels: ArrayLike, *, temperature: float = 0.1, **common: Unpack[Common]
) -> Any:
    r"""Supervised contrastive loss: moves samples of one class together, and away from all others of the batch.

    Use it to learn vectors from class labels. Without labels take `nt_xent`; to compare only the hardest samples, take
    `batch_hard_triplet`.

    z_i is row i of `z`, and P(i) are the other samples with the label of sample i::

        s_ij   = z_i . z_j / temperature
        loss_i = log(sum over j != i of exp(s_ij)) - mean over j in P(i) of s_ij

    This is L_out of Khosla et al. The vectors are used as given. To compare cosines, normalise them first: `info_nce`
    shows how.

    Parameters
    ----------
    z : array_like
        Vectors as rows, (N, D), half precision, float32 or float64. The unreduced loss has shape (N,).
    labels : array_like
        Class labels, any integers, in shape (N,). Another dtype raises TypeError.
    temperature : float, default 0.1
        A finite number > 0. It divides the similarities.

    Notes
    -----
    * Mean: the denominator is the sum of `sample_weight` over the samples that have positives, that is, another sample
      with the same label. Without weights it is the number of these samples.
    * A sample without positives has the loss 0, but is a negative for the other samples.
    * Work: two matrix products, because the similarities are symmetric.
    * See `info_nce` for the notes on normalisation, accuracy, memory, weights and ``reduction="none"``.

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
    return batches.supcon(SUPCON, outputs, z, labels, common, number(temperature, "temperature", 0, above=True))


BATCH_HARD_TRIPLET = Batches("batch_hard_triplet", (Z, LABELS))


@loss(BATCH_HARD_TRIPLET)
def batch_hard_triplet(
    outputs: int,
    /,
    z: ArrayLike,
    labels: ArrayLike,
    *,
    margin: float = 1.0,
    soft: bool = False,
    **common: Unpack[Common],
) -> Any:
    r"""Triplet loss with the hardest triplets of a batch: each sample with its farthest positive and nearest negative.

    Use it to learn vectors from class labels by Euclidean distance. If the triplets are chosen already, take `triplet`;
    to compare each sample with all others, take `supcon`.

    For each sample, p is the distance from the farthest other sample of its class, and n the distance from the nearest
    sample of another class. Distances are Euclidean, and softplus(a) = log(1 + exp(a))::

        loss = max(0, p - n + margin)
        loss = softplus(p - n)              with `soft`

    Parameters
    ----------
    z : array_like
        Vectors as rows, (N, D), half precision, float32 or float64. The unreduced loss has shape (N,).
    labels : array_like
        Class labels, any integers, in shape (N,). Another dtype raises TypeError.
    margin : float, default 1.0
        A number >= 0. It has the unit of the vectors. Negatives must be farther away than positives by this much. It is
        not used with `soft`.
    soft : bool, default False
        Whether to take the softplus of the difference instead of the hinge. Triplets beyond any margin then still have
        a gradient.

    Notes
    -----
    * Mean: the denominator is the sum of `sample_weight` over the samples that have both a positive and a negative.
      Without weights it is the number of these samples.
    * A sample without positives or without negatives has the loss 0, but is a positive or a negative for the other
      samples.
    * Choice: the triplets are those of the distances as differences in double precision give them, even among vectors
      that nearly agree. So the threads of BLAS do not change the result. Of two squared distances that differ by less
      than (D + 2) 2^-52 of themselves, either may count as the larger. In float64, distances below 1e-150 of the
      largest element may count as 0.
    * Ties: of several equally far positives or equally near negatives, the first one in `z` is taken.
    * Gradient: it goes to the three vectors of each triplet. A distance of 0 has the gradient 0. At the kink of the
      hinge the gradient is 0.
    * Speed: products of the vectors rule out nearly all pairs, and the rest are measured by differences. If nearly all
      vectors agree, all pairs are measured. That took 9 times as long for (4096, 128) equal vectors, float32.
    * Special values: NaN or inf in any vector of weight > 0 makes the loss of every triplet and the whole gradient NaN.
    * See `info_nce` for the notes on memory, weights and ``reduction="none"``.

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
    margin, soft = number(margin, "margin", 0), flag(soft, "soft")
    return batches.batch_hard_triplet(BATCH_HARD_TRIPLET, outputs, z, labels, common, margin, soft)
