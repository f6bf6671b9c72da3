"""Hierarchical softmax: trees of binary decisions, and from the arguments of the loss to the kernel and back.

A tree is built as an array `children` of shape (C - 1, 2). Each inner node has a row: its child 0 and its child 1. A
child is the number of an inner node, or -1 - c for class c. The root is node 0.

A finished tree is held from below. `up` has an entry for each class, and then one for each inner node: twice the number
of the parent, plus 0 or 1 for which of its children this is; -1 for the root. The nodes are numbered level by level.
Kernels trust these arrays. So no one else can reach them.
"""

cimport numpy as cnp
from libc.stdint cimport int32_t

import numpy as np

from fastloss._core.calls.kernels import kernels
from fastloss._core.calls.policy cimport sum_of_weights, threads_for
from fastloss._core.request import checks
from fastloss._core.request.arguments cimport floating, floating_as, like_gradient, real
from fastloss._core.request.call cimport GRAD, Call
from fastloss._core.request.domains import outside

cnp.import_array()

MOST = 2**30            # classes, or samples of a call: twice their number fits int32
SCORE_BYTES = 1 << 24   # of the scores that `probabilities` holds at once


cdef str NO_TREE = "children must be those of one binary tree"


# ---------------------------------------------------------------------------------------------------------------------
# Trees

cdef class Tree:
    """A binary tree whose leaves are classes. It cannot be changed."""

    cdef cnp.ndarray up         # see above
    cdef cnp.ndarray length     # of the path of each class
    cdef readonly Py_ssize_t classes

    def __cinit__(self, children):
        cdef cnp.ndarray given = np.ascontiguousarray(children, np.int32).reshape(-1, 2), numbers, levels
        cdef Py_ssize_t nodes = cnp.PyArray_DIM(given, 0), found = 1, k
        cdef int32_t child
        self.classes = nodes + 1
        self.up = np.full(2 * nodes + 1, -1, np.int32)
        self.length = np.zeros(nodes + 1, np.int32)
        numbers, levels = np.zeros(nodes + 1, np.int32), np.zeros(nodes + 1, np.int32)
        cdef const int32_t* child_of = <const int32_t*> cnp.PyArray_DATA(given)
        cdef int32_t* leaf = <int32_t*> cnp.PyArray_DATA(self.up)
        cdef int32_t* inner = leaf + self.classes
        cdef int32_t* length = <int32_t*> cnp.PyArray_DATA(self.length)
        cdef int32_t* number = <int32_t*> cnp.PyArray_DATA(numbers)  # that `children` gives to node k of the tree
        cdef int32_t* level = <int32_t*> cnp.PyArray_DATA(levels)
        for k in range(2 * nodes):
            if k // 2 == found:
                raise ValueError(NO_TREE)
            child = child_of[2 * number[k // 2] + k % 2]
            if 0 <= child < nodes and found < nodes:
                number[found], inner[found], level[found] = child, <int32_t> k, level[k // 2] + 1
                found += 1
            elif -1 - nodes <= child < 0 and leaf[-1 - child] < 0:
                leaf[-1 - child], length[-1 - child] = <int32_t> k, level[k // 2] + 1
            else:
                raise ValueError(NO_TREE)

    def __reduce__(self):
        return type(self)._of_children, (self._children(),)

    def _children(self):
        """The children of each inner node, as the tree is built of them. Nodes are numbered anew."""
        nodes = self.classes - 1
        children = np.empty(2 * nodes, np.int32)
        if nodes:
            children[self.up[:self.classes]] = -1 - np.arange(self.classes)
            children[self.up[self.classes + 1:]] = np.arange(1, nodes)
        return children.reshape(nodes, 2)

    @property
    def lengths(self):
        """The length of the code of each class."""
        return self.length.astype(np.int64)

    @property
    def codes(self):
        """The code of each class: the way from the root to it."""
        cdef list steps = (<object> self.up).tolist(), code = [""] * len(steps)
        cdef Py_ssize_t k, up, classes = self.classes
        for k in range(classes + 1, 2 * classes - 1):  # parents come before their children
            up = steps[k]
            code[k] = code[classes + up // 2] + "01"[up % 2]
        for k in range(classes if classes > 1 else 0):
            up = steps[k]
            code[k] = code[classes + up // 2] + "01"[up % 2]
        return tuple(code[:classes])


def children_of_counts(counts):
    """Huffman's tree: the two lightest trees become the children of a new node, until one tree is left.

    The classes are sorted, and new nodes arise in the order of their weights. So the lightest trees stand at the heads
    of two queues.
    """
    given = real(counts, "counts")
    if given.ndim != 1 or not 0 < len(given) <= MOST:
        raise ValueError(f"counts must have shape (C,), a count for each of 1 to 2^30 classes, not {given.shape}")
    bad = outside(given, checks.Domain.WEIGHT)
    if bad.any():
        checks.raise_first(given, bad, "counts", "a finite count >= 0")
    cdef cnp.ndarray count = given.astype(np.float64), order = np.argsort(count, kind="stable").astype(np.int32)
    cdef Py_ssize_t classes = len(count), nodes = classes - 1, leaf = 0, node = 0, k, bit
    cdef cnp.ndarray sums = np.empty(classes), result = np.empty((nodes, 2), np.int32)
    cdef const double* of_class = <const double*> cnp.PyArray_DATA(count)
    cdef const int32_t* sorted_class = <const int32_t*> cnp.PyArray_DATA(order)
    cdef double* weight = <double*> cnp.PyArray_DATA(sums)  # of the nodes, in the order in which they arise
    cdef int32_t* children = <int32_t*> cnp.PyArray_DATA(result)
    for k in range(nodes):
        weight[k] = 0
        for bit in range(2):
            # Of equal weights, a class comes before a node. This keeps the longest code short.
            if leaf < classes and (node == k or of_class[sorted_class[leaf]] <= weight[node]):
                children[2 * (nodes - 1 - k) + bit] = -1 - sorted_class[leaf]
                weight[k] += of_class[sorted_class[leaf]]
                leaf += 1
            else:
                children[2 * (nodes - 1 - k) + bit] = <int32_t> (nodes - 1 - node)
                weight[k] += weight[node]
                node += 1
    return result


def children_of_codes(codes):
    """The tree in which each class has the given code."""
    if isinstance(codes, (str, bytes)) or not hasattr(codes, "__len__"):
        raise TypeError(f"codes must be a sequence of codes, not {checks.type_name(codes)}")
    if not 0 < len(codes) <= MOST:
        raise ValueError(f"codes must hold the codes of 1 to 2^30 classes, not of {len(codes)}")
    cdef list texts = [text_of_code(code, c) for c, code in enumerate(codes)]
    cdef list children = [] if texts == [""] else [0, 0]  # 0 for a child that is missing
    cdef Py_ssize_t c, k, slot
    for c, text in enumerate(texts if children else []):
        k = 0
        for place, bit in enumerate(text, 1):
            slot = 2 * k + (bit == "1")
            k = children[slot]
            if place == len(text) and k == 0:
                children[slot] = -1 - c
            elif place == len(text) or k < 0:
                raise_ambiguous(texts, c, a_class_below(children, k))
            elif k == 0:
                k = children[slot] = len(children) // 2
                children += [0, 0]
        if not text:
            raise_ambiguous(texts, c, 0 if c else 1)
    raise_if_incomplete(children)
    return np.array(children, np.int32).reshape(-1, 2)


cdef str text_of_code(code, Py_ssize_t c):
    """A code as a string of 0 and 1."""
    try:
        digits = list(code)
    except TypeError:
        kind = checks.type_name(code)
        raise TypeError(f"codes[{c}] must be a string or a sequence of 0 and 1, not {kind}") from None
    text = "".join(["0" if x in ("0", 0) else "1" if x in ("1", 1) else "?" for x in digits])
    if "?" in text:
        raise ValueError(f"codes[{c}] = {checks.shown(code)} must consist of 0 and 1")
    return text


cdef Py_ssize_t a_class_below(list children, Py_ssize_t child):
    """A class that one reaches from a child."""
    while child >= 0:
        child = children[2 * child] or children[2 * child + 1]
    return -1 - child


cdef raise_ambiguous(list texts, Py_ssize_t c, Py_ssize_t other):
    """Raise the error for two codes of which one is the beginning of the other."""
    how = "begins with" if texts[c].startswith(texts[other]) else "is the beginning of"
    raise ValueError(f"codes[{c}] = {checks.shown(texts[c])} {how} codes[{other}] = {checks.shown(texts[other])}")


cdef raise_if_incomplete(list children):
    """Raise the error for codes that leave a child without a class."""
    cdef list beginning = [""] * (len(children) // 2)
    cdef Py_ssize_t slot, child
    for slot in range(len(children)):  # parents come before their children
        child, text = children[slot], beginning[slot // 2] + "01"[slot % 2]
        if child == 0:
            raise ValueError(f"codes must be complete, and none begins with {checks.shown(text)}")
        if child > 0:
            beginning[child] = text


# ---------------------------------------------------------------------------------------------------------------------
# The loss

cdef tuple checked(tree, x, node_weight):
    """The vectors and the weights of the nodes, as arrays that a kernel can read."""
    cdef cnp.ndarray vectors = floating(x, "x"), weight = real(node_weight, "node_weight")
    if not isinstance(tree, Tree):
        raise TypeError(f"tree must be a HuffmanTree, not {checks.type_name(tree)}")
    if cnp.PyArray_NDIM(vectors) != 2 or cnp.PyArray_DIM(vectors, 0) > MOST:
        raise ValueError(f"x must have shape (N, D), at most 2^30 vectors as rows, not {(<object> vectors).shape}")
    shape = (tree.classes - 1, cnp.PyArray_DIM(vectors, 1))
    if (<object> weight).shape != shape:
        raise ValueError(
            f"node_weight must have shape {shape}, a row for each inner node of the tree, not {(<object> weight).shape}"
        )
    return vectors, weight


def trees(declaration, int outputs, x, node_weight, target, tree, dict common, bint sparse):
    """Run the loss of the paths of a tree. `common` are the arguments of every loss."""
    cdef cnp.ndarray vectors, weight
    vectors, weight = checked(tree, x, node_weight)
    cdef Tree of_classes = tree
    cdef Py_ssize_t n = cnp.PyArray_DIM(vectors, 0)
    label = checks.class_labels(target, "target", n)
    cdef Call call = Call(declaration, outputs, (n,), (), common)
    if call.wants(GRAD) and common.get("reduction") == "none":
        raise ValueError(f"reduction='none' goes with the value alone: {declaration.name} adds up its gradients")
    if call.out is not None and sparse:
        raise ValueError("out goes with sparse=False: the number of rows is not known before the call")
    dtype = (<object> vectors).dtype
    call.threads = threads_for(cnp.PyArray_SIZE(vectors))
    cdef tuple likes = (vectors,)
    if call.out is not None:
        likes += (like_gradient(weight, dtype),)
    call.allocate(likes, (
        ("x", x, vectors, True), ("node_weight", node_weight, weight, True), ("target", target, label, False)
    ))
    if call.in_place:  # the gradients are not written in the order of the inputs
        vectors, weight = (<object> vectors).copy(), (<object> weight).copy()
    if call.wants(GRAD) and call.out is None and not sparse:
        # The system clears large memory as it is first used. So rows that no sample reaches cost little.
        call.grads = (call.grads[0], np.zeros((<object> weight).shape, dtype))
        call.hesses = (None, None)
    call.divide_by(sum_of_weights(call))
    results = kernels.trees.run(call, of_classes.up, of_classes.length, vectors, weight, label, sparse)
    if results is None:
        bad = checks.invalid_labels(label, of_classes.classes, 0, call.weight)
        checks.raise_first(label, bad, "target", f"a class index in [0, {of_classes.classes})")
    total, rows, values = results
    if rows is not None:
        call.grads = (call.grads[0], (rows, values))
    return call.result(total)


def probabilities(Tree tree, x, node_weight):
    """The probabilities of all classes, for each row of x."""
    cdef cnp.ndarray vectors, weight
    vectors, weight = checked(tree, x, node_weight)
    cdef Py_ssize_t n = cnp.PyArray_DIM(vectors, 0), start, height
    dtype = checks.computed_in((<object> vectors).dtype)
    weight = floating_as(weight, dtype)
    result = np.empty((n, tree.classes), (<object> vectors).dtype)
    height = max(1, SCORE_BYTES // (tree.classes * dtype.itemsize))
    for start in range(0, n, height):
        rows = slice(start, min(n, start + height))
        with np.errstate(all="ignore"):
            scores = np.matmul(floating_as((<object> vectors)[rows], dtype), weight.T)
        kernels.trees.probabilities(scores, tree.up, result[rows], threads_for(scores.size))
    return result
