"""Losses of structured outputs: sequences, and trees of classes.

* A sequence of frames against a shorter sequence of labels, with no alignment known: `ctc`.
* One of many classes, at a cost that grows with the logarithm of their number: `hierarchical_cross_entropy`, on the
  tree that `HuffmanTree` builds.
* A tag for each step of a sequence: `linear_chain_crf` for probabilities, `structured_hinge` for a margin. `viterbi`
  finds the best tags.

The arguments `sample_weight`, `reduction`, `normalizer` and `out` are those of every loss: see `fastloss.Loss`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike, NDArray

from fastloss._core.calls import chains, trees
from fastloss._core.calls.alignments import alignments
from fastloss._core.request.arguments import number
from fastloss._core.request.checks import flag
from fastloss._declaration import Alignments, Chains, Input, Trees
from fastloss._loss import loss

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self, Unpack

    from fastloss._loss import Common

__all__ = [
    "HuffmanTree",
    "ctc",
    "hierarchical_cross_entropy",
    "linear_chain_crf",
    "structured_hinge",
    "viterbi",
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
    * Special values: a logit of -inf forbids a class, and so do differences of logits beyond 1e305. A NaN or inf makes
      the loss and all gradients of its sequence NaN. So does a frame whose logits are all -inf.
    * Accuracy: everything is computed in double precision, with exponents that do not underflow. The errors of the loss
      and of the gradient are about 1e-16 a frame, relative to 1: the gradient is a difference of probabilities. Results
      are then rounded to the dtype.
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


class HuffmanTree(trees.Tree):
    """A binary tree of classes for `hierarchical_cross_entropy`: frequent classes are near the root.

    Each class has a code: the way from the root to it, as 0 and 1. Huffman's codes are those with the least mean length
    under the given counts. So a sample takes the fewest decisions on average.

    Parameters
    ----------
    counts : array_like
        How often each class occurs, (C,). Any finite real numbers >= 0; they are compared as float64. A count of 0 is
        allowed, and all counts may be 0.

    Attributes
    ----------
    classes : int
        The number of classes, C. The tree has C - 1 inner nodes.
    codes : tuple of str
        The code of each class. That of a single class is empty. Each access makes them anew: 20 ms for 100 000 classes.
    lengths : ndarray
        The length of each code, (C,), int64.
    depth : int
        The length of the longest code.

    Notes
    -----
    * Numbers: inner nodes are numbered level by level, from the root, which is number 0. Within a level they are in the
      order of their codes. So codes alone determine the tree, and which row of `node_weight` belongs to which node.
    * Ties: the two lightest trees are joined, the lighter one as child 0. Of equal counts, the class with the smaller
      index comes first, and a class comes before a tree of several. So classes with a count of 0 share a subtree whose
      depth is about the logarithm of their number.
    * A tree cannot be changed. It can be pickled. It needs 12 bytes a class.

    References
    ----------
    D. A. Huffman, A Method for the Construction of Minimum-Redundancy Codes, Proceedings of the IRE, 1952.

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> tree = fl.HuffmanTree([5, 1, 2, 0])
    >>> tree.codes
    ('1', '001', '01', '000')
    >>> tree.classes, tree.depth, tree.lengths
    (4, 3, array([1, 3, 2, 3]))

    Take codes that you have, for example from a taxonomy:

    >>> fl.HuffmanTree.from_codes(["00", "01", "1"])
    <HuffmanTree of 3 classes, depth 2>

    The probabilities of all classes, for two samples:

    >>> x, node_weight = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[2.0, 0.0], [0.0, 0.0], [0.0, 3.0]])
    >>> tree.probabilities(x, node_weight).round(4)
    array([[0.8808, 0.0298, 0.0596, 0.0298],
           [0.5   , 0.2381, 0.25  , 0.0119]])
    """

    __slots__ = ()

    def __new__(cls, counts: ArrayLike) -> Self:
        """Build the tree of the given counts."""
        return super().__new__(cls, trees.children_of_counts(counts))

    @classmethod
    def from_codes(cls, codes: Sequence[str | Sequence[int]]) -> HuffmanTree:
        """Build the tree in which each class has the given code.

        `codes` holds a code for each class: a string of "0" and "1", or a sequence of 0 and 1. They must form a
        complete prefix code: no code is the beginning of another, and every way down the tree ends at a class.
        Otherwise ValueError names the first code that does not fit the codes before it, or a beginning that no code
        has.
        """
        return trees.Tree.__new__(cls, trees.children_of_codes(codes))

    @classmethod
    def _of_children(cls, children: NDArray[Any]) -> HuffmanTree:
        return trees.Tree.__new__(cls, children)

    @property
    def depth(self) -> int:
        """The length of the longest code."""
        return int(self.lengths.max())

    def probabilities(self, x: ArrayLike, node_weight: ArrayLike) -> NDArray[Any]:
        """Return the probability of every class for each row of `x`, as an array (N, C) of the dtype of `x`.

        `x` and `node_weight` are those of `hierarchical_cross_entropy`. One matrix product gives the scores of all
        nodes, and one walk from the root gives the probabilities: the cost is that of a full softmax. The logarithm of
        the probability of a class is its loss with the opposite sign.
        """
        return trees.probabilities(self, x, node_weight)

    def __repr__(self) -> str:
        return f"<HuffmanTree of {self.classes} classes, depth {self.depth}>"


HIERARCHICAL_CROSS_ENTROPY = Trees(
    "hierarchical_cross_entropy",
    (
        Input("x", differentiable=True),
        Input("node_weight", differentiable=True, shape="nodes"),
        Input("target", shape="classes"),
    ),
)


@loss(HIERARCHICAL_CROSS_ENTROPY)
def hierarchical_cross_entropy(
    outputs: int,
    /,
    x: ArrayLike,
    node_weight: ArrayLike,
    target: ArrayLike,
    tree: HuffmanTree,
    *,
    sparse: bool = False,
    **common: Unpack[Common],
) -> Any:
    r"""Hierarchical softmax: cross-entropy with a tree of binary decisions in place of a softmax over all classes.

    Use it for very many classes, such as the words of a language: a sample costs about log2(C) scalar products instead
    of C. The model is another one than softmax, so train and predict with the same tree. For up to some thousands of
    classes, take `cross_entropy` of all scores.

    The way from the root of the tree to class y goes through the inner nodes k(1), k(2), ..., and at each of them to
    child b(1), b(2), ..., which is 0 or 1. With w_k row k of `node_weight`, s_j = 1 for b(j) = 1 and -1 for b(j) = 0,
    and softplus(a) = log(1 + exp(a))::

        loss = sum_j softplus(-s_j w_k(j) . x)

    So sigmoid(w_k . x) is the probability of child 1 of node k, and the loss is -log of the probability of the class.

    Parameters
    ----------
    x : array_like
        Vectors as rows, (N, D), half precision, float32 or float64. The unreduced loss has shape (N,).
    node_weight : array_like
        A row of weights for each inner node of the tree, (C - 1, D). `HuffmanTree` says how nodes are numbered.
    target : array_like
        Class indices in [0, C) of any integer dtype, (N,).
    tree : HuffmanTree
        The tree of the C classes.
    sparse : bool, default False
        Whether the gradient with respect to `node_weight` is a pair (rows, values): the rows that are not known to be
        0, sorted, int64; and the gradients of these rows, in the dtype of `x`. Such a call does not clear C - 1 rows
        for a few samples.

    Notes
    -----
    * Mean: the denominator is the sum of `sample_weight`, or N if there are no weights.
    * Gradients: those with respect to `x` and `node_weight`. The second one is a sum over the samples. So
      ``reduction="none"`` gives the losses, and derivatives under it raise ValueError.
    * Sparse gradients: update the weights by ``node_weight[rows] -= rate * values``. The argument `out` goes with dense
      gradients alone.
    * Bias: append a column of ones to `x`, and a column to `node_weight`.
    * Prediction: `HuffmanTree.probabilities` gives the probabilities of all classes.
    * One class: the tree has no inner node, and the loss is 0.
    * Accuracy: scores, losses and sums are computed in double precision for every dtype.
    * Memory: besides the results, a gradient needs 32 bytes for each inner node on the path of each sample. A value
      needs 24 bytes for each sample.

    References
    ----------
    F. Morin and Y. Bengio, Hierarchical Probabilistic Neural Network Language Model, AISTATS 2005. T. Mikolov,
    I. Sutskever, K. Chen, G. Corrado and J. Dean, Distributed Representations of Words and Phrases and their
    Compositionality, NeurIPS 2013.

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> tree = fl.HuffmanTree([5, 1, 2, 0])
    >>> x, node_weight = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[2.0, 0.0], [0.0, 0.0], [0.0, 3.0]])
    >>> fl.hierarchical_cross_entropy(x, node_weight, [0, 2], tree, reduction="none").round(4)
    array([0.1269, 1.3863])
    >>> value, (grad_x, grad_weight) = fl.hierarchical_cross_entropy.value_and_grad(x, node_weight, [0, 2], tree)
    >>> round(value, 4)
    0.7566
    >>> grad_weight.round(4)
    array([[-0.0596,  0.25  ],
           [ 0.    , -0.25  ],
           [ 0.    ,  0.    ]])

    The rows that have a gradient, and their gradients:

    >>> _, (rows, values) = fl.hierarchical_cross_entropy.grad(x, node_weight, [0, 2], tree, sparse=True)
    >>> rows
    array([0, 1])
    >>> node_weight[rows] -= 0.5 * values
    """
    sparse = flag(sparse, "sparse")
    return trees.trees(HIERARCHICAL_CROSS_ENTROPY, outputs, x, node_weight, target, tree, common, sparse)


LINEAR_CHAIN_CRF = Chains("linear_chain_crf")


@loss(LINEAR_CHAIN_CRF)
def linear_chain_crf(
    outputs: int,
    /,
    emissions: ArrayLike,
    tags: ArrayLike,
    transitions: ArrayLike,
    *,
    lengths: ArrayLike | None = None,
    start: ArrayLike | None = None,
    end: ArrayLike | None = None,
    **common: Unpack[Common],
) -> Any:
    r"""Negative log-likelihood of a linear-chain conditional random field (CRF): one loss for each sequence of tags.

    Use it to tag the steps of a sequence if neighbouring tags depend on each other: parts of speech, named entities.
    `viterbi` finds the best tags of a trained model. For a margin instead of probabilities take `structured_hinge`; if
    the tags are independent, take `cross_entropy` of `emissions`.

    The score of a path y_1, ..., y_T of tags is the sum of its emissions and of its transitions::

        score(y) = start[y_1] + sum_t emissions[t, y_t] + sum_t transitions[y_{t-1}, y_t] + end[y_T]
        loss     = log(sum over all paths y of exp(score(y))) - score(tags)

    The loss is not divided by the length of the sequence.

    Parameters
    ----------
    emissions : array_like
        Scores of each tag at each step, (N, T, K), half precision, float32 or float64. The unreduced loss has shape
        (N,). There may be more leading axes, or none for a single sequence: (T, K).
    tags : array_like
        The right tags, of any integer dtype, in the shape of `emissions` without its last axis: numbers in [0, K).
    transitions : array_like
        Scores of neighbours, (K, K): ``transitions[i, j]`` is for tag i followed by tag j. -inf forbids a move.
    lengths : array_like, optional
        The number of steps of each sequence, of any integer dtype, in the shape of the unreduced loss: numbers in
        [0, T]. All sequences have T steps without it. Steps behind the end are ignored: `emissions` and `tags` may hold
        anything there, and the gradient is 0.
    start : array_like, optional
        Scores of the first tag of a sequence, (K,).
    end : array_like, optional
        Scores of its last tag, (K,).

    Notes
    -----
    * Mean: the denominator is the sum of `sample_weight`, or N if there are no weights.
    * The gradients are a tuple: those with respect to `emissions` and `transitions`, and then those with respect to
      `start` and `end` as far as these are given.
    * Gradient: with respect to an emission it is the probability of this tag at this step, minus 1 if the tag is the
      right one. With respect to a transition it is the expected number of such moves minus their number in `tags`,
      summed over the sequences.
    * ``reduction="none"`` gives the losses. It has no gradients, because those of `transitions` are sums over the
      sequences.
    * A sequence of length 0 has the loss 0 and the gradient 0, and counts in the mean.
    * Infinite scores: -inf excludes paths, without NaN as long as one path is left. If `tags` is an excluded path, the
      loss is inf, and the gradient is as above. Without any path, or with a score of +inf, both are NaN.
    * A sequence with weight 0 is ignored, with its tags and its length.
    * Accuracy: everything is computed in float64 and rounded once. The range of the scores does not matter. Errors of
      the loss are relative to the size of the differences between scores, so a loss below 1e-14 can be 0. The gradient
      is a difference of probabilities, and so are its errors: 1e-16, relative to 1.
    * Work: T K^2 multiplications, and T K exponentials, for a sequence. Where scores differ by more than 300 the
      exponentials can become T K^2.
    * Memory: for each thread, three float64 arrays in the shape of one sequence, with K rounded up to a multiple
      of 32. For the gradient of `transitions`, up to 64 float64 copies of it: 4 MB, or 8 copies if these take more.

    References
    ----------
    J. Lafferty, A. McCallum and F. Pereira, Conditional Random Fields: Probabilistic Models for Segmenting and Labeling
    Sequence Data, ICML 2001.

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> emissions = np.array([[[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]], [[0.0, 1.0], [0.5, 0.0], [0.0, 0.0]]])
    >>> tags, transitions = np.array([[0, 1, 1], [1, 0, 0]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> fl.linear_chain_crf(emissions, tags, transitions, lengths=[3, 2], reduction="none").round(4)
    array([1.1961, 1.3537])
    >>> value, (of_emissions, of_transitions) = fl.linear_chain_crf.value_and_grad(
    ...     emissions, tags, transitions, lengths=[3, 2])
    >>> of_transitions.round(4)
    array([[ 0.2684, -0.2411],
           [-0.2493,  0.2221]])
    >>> best, score = fl.viterbi(emissions, transitions, lengths=[3, 2])
    >>> best
    array([[0, 1, 1],
           [1, 1, 0]])
    """
    return chains.chains(LINEAR_CHAIN_CRF, outputs, emissions, tags, transitions, lengths, start, end, (), common)


STRUCTURED_HINGE = Chains("structured_hinge")


@loss(STRUCTURED_HINGE)
def structured_hinge(
    outputs: int,
    /,
    emissions: ArrayLike,
    tags: ArrayLike,
    transitions: ArrayLike,
    *,
    lengths: ArrayLike | None = None,
    start: ArrayLike | None = None,
    end: ArrayLike | None = None,
    margin: float = 1.0,
    **common: Unpack[Common],
) -> Any:
    r"""Structured hinge loss of sequences of tags: the right path must beat each other path by a margin per wrong tag.

    Use it to train a tagger whose best path matters and whose probabilities do not: a structured support vector
    machine, or a structured perceptron with ``margin=0``. For probabilities take `linear_chain_crf`.

    The score of a path is that of `linear_chain_crf`. wrong(y) is the number of steps at which y differs from `tags`::

        loss = max over all paths y of (score(y) + margin wrong(y)) - score(tags)

    The maximum is found by `viterbi` with the margin added to the emissions of wrong tags. The loss is never negative.

    Parameters
    ----------
    emissions : array_like
        Scores of each tag at each step, (N, T, K), half precision, float32 or float64. The unreduced loss has shape
        (N,). There may be more leading axes, or none for a single sequence: (T, K).
    tags : array_like
        The right tags, of any integer dtype, in the shape of `emissions` without its last axis: numbers in [0, K).
    transitions : array_like
        Scores of neighbours, (K, K): ``transitions[i, j]`` is for tag i followed by tag j. -inf forbids a move.
    lengths : array_like, optional
        The number of steps of each sequence, of any integer dtype. See `linear_chain_crf`.
    start : array_like, optional
        Scores of the first tag of a sequence, (K,).
    end : array_like, optional
        Scores of its last tag, (K,).
    margin : float, default 1.0
        A finite number: by how much the score of a path must be lower for each wrong tag.

    Notes
    -----
    * Mean: the denominator is the sum of `sample_weight`, or N if there are no weights.
    * The gradients are a tuple as in `linear_chain_crf`, and ``reduction="none"`` has none.
    * Gradient: it is a subgradient. Let y be the path of the maximum. The gradient with respect to an emission is
      [this is the tag of y] - [this is the right tag]. With respect to a transition it is the number of such moves in
      y minus their number in `tags`. Where the loss is 0 the gradient is 0.
    * Ties: of the best paths, y is the one with the smallest last tag; of these, the one with the smallest tag before
      it, and so on. It is the same at each CPU level.
    * Special values: a sequence of length 0 has the loss 0. If `tags` is a path that -inf excludes, the loss is inf,
      and the gradient is as above. Without any path, the loss and its gradient are NaN.
    * Accuracy: everything is computed in float64 and rounded once.
    * Work: T K^2 additions and comparisons for a sequence.
    * Memory: a third of what `linear_chain_crf` needs for a sequence, and the same for `transitions`.

    References
    ----------
    B. Taskar, C. Guestrin and D. Koller, Max-Margin Markov Networks, NIPS 2003.
    I. Tsochantaridis, T. Joachims, T. Hofmann and Y. Altun, Large Margin Methods for Structured and Interdependent
    Output Variables, JMLR 2005.

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> emissions, transitions = np.array([[[2.0, 0.0], [0.0, 1.5], [1.0, 0.0]]]), np.zeros((2, 2))
    >>> tags = np.array([[0, 1, 1]])
    >>> value, (of_emissions, of_transitions) = fl.structured_hinge.value_and_grad(emissions, tags, transitions)
    >>> value
    2.0
    >>> of_emissions
    array([[[ 0.,  0.],
            [ 0.,  0.],
            [ 1., -1.]]])
    >>> of_transitions
    array([[ 0.,  0.],
           [ 1., -1.]])
    """
    parameters = (number(margin, "margin"),)
    return chains.chains(
        STRUCTURED_HINGE, outputs, emissions, tags, transitions, lengths, start, end, parameters, common
    )


def viterbi(
    emissions: ArrayLike,
    transitions: ArrayLike,
    *,
    lengths: ArrayLike | None = None,
    start: ArrayLike | None = None,
    end: ArrayLike | None = None,
) -> tuple[NDArray[Any], NDArray[Any]]:
    r"""Find the tags with the highest score of each sequence, and this score.

    Use it to predict with a model that `linear_chain_crf` or `structured_hinge` has trained. The score of a path is
    that of `linear_chain_crf`::

        tags = argmax over all paths y of score(y)

    Parameters
    ----------
    emissions, transitions, lengths, start, end
        As in `linear_chain_crf`.

    Returns
    -------
    tags : ndarray
        The best tags, int64, in the shape of `emissions` without its last axis. They are 0 behind the end of a
        sequence.
    scores : ndarray
        Their score, in the dtype of `emissions` and the shape of the unreduced loss. It is 0 for a sequence of length
        0, and -inf if every path is excluded.

    Notes
    -----
    * Ties: of the best paths, it is the one with the smallest last tag; of these, the one with the smallest tag before
      it, and so on.
    * A NaN among the scores of a sequence makes its score NaN. Its tags are numbers in [0, K) without a meaning.
    * Sums are in float64, and the score is rounded once.

    References
    ----------
    A. J. Viterbi, Error Bounds for Convolutional Codes and an Asymptotically Optimum Decoding Algorithm, IEEE
    Transactions on Information Theory 13 (1967).

    Examples
    --------
    >>> import numpy as np, fastloss as fl
    >>> emissions = np.array([[[2.0, 0.0], [0.0, 1.5], [1.0, 0.0]]])
    >>> fl.viterbi(emissions, np.zeros((2, 2)))
    (array([[0, 1, 0]]), array([4.5]))
    >>> fl.viterbi(emissions, np.array([[0.0, -np.inf], [0.0, 0.0]]))
    (array([[0, 0, 0]]), array([3.]))
    """
    tags, scores = chains.viterbi(emissions, transitions, lengths, start, end)
    return tags, scores
