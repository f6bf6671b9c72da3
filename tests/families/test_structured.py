"""Structured outputs: values worked out by hand, trees, special cases, errors."""

import copy
import heapq
import pickle

import numpy as np
import pytest

import fastloss as fl
from fastloss._core.calls import trees
from tests.losses.cases import TREES
from tests.losses.comparing import assert_close, assert_same_bits, leaves, like
from tests.losses.layouts import LAYOUTS
from tests.losses.support import HALVES, INF, NAN, Guarded, each_dtype, peak_of, raises

pytestmark = pytest.mark.filterwarnings("error")

hierarchical = fl.hierarchical_cross_entropy
INTEGERS = "bBhHiIlLqQ"


def softplus(z):
    return np.logaddexp(0, z)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def tree_problem(classes, samples=40, length=7, dtype=np.float64, seed=0):
    """A tree of random counts, vectors, weights of its nodes, and class indices."""
    rng = np.random.default_rng(seed)
    tree = fl.HuffmanTree(rng.exponential(size=classes) ** 3)
    x = rng.standard_normal((samples, length)).astype(dtype)
    node_weight = rng.standard_normal((classes - 1, length)).astype(dtype)
    return tree, (x, node_weight, rng.integers(0, classes, samples))


def dense(rows, values, shape):
    full = np.zeros(shape, values.dtype)
    full[rows] = values
    return full


each_number_of_classes = pytest.mark.parametrize("classes", [1, 2, 3, 10, 1000, 100_000])


# ---------------------------------------------------------------------------------------------------------------------
# Hierarchical softmax: values


def test_a_path_of_two_decisions_by_hand():
    """Class 2 is child 1 of the root and then child 1. The scores are 0.5 and -2."""
    tree = fl.HuffmanTree.from_codes(["0", "10", "11"])
    x, node_weight = np.array([[1.0, 2.0]]), np.array([[0.5, 0.0], [0.0, -1.0]])
    value, (grad_x, grad_weight) = hierarchical.value_and_grad(x, node_weight, [2], tree)
    slopes = -sigmoid(-0.5), -sigmoid(2.0)
    assert value == pytest.approx(softplus(-0.5) + softplus(2.0), rel=1e-15)
    assert_close(grad_x, np.array([[0.5 * slopes[0], -slopes[1]]]), 4)
    assert_close(grad_weight, np.outer(slopes, [1.0, 2.0]), 4)
    assert hierarchical(x, node_weight, [0], tree) == pytest.approx(softplus(0.5), rel=1e-15)
    assert hierarchical(x, node_weight, [1], tree) == pytest.approx(softplus(-0.5) + softplus(-2.0), rel=1e-15)


def test_two_classes_are_a_binary_loss():
    tree, (x, node_weight, target) = tree_problem(2)
    target = np.array([int(tree.codes[c]) for c in target])
    value, (grad_x, grad_weight) = hierarchical.value_and_grad(
        x, node_weight, target, fl.HuffmanTree.from_codes(["0", "1"])
    )
    expected, slope = fl.binary_cross_entropy_with_logits.value_and_grad(x @ node_weight[0], target)
    assert value == pytest.approx(expected, rel=1e-14)
    assert_close(grad_x, np.outer(slope, node_weight[0]), 64)
    assert_close(grad_weight, (slope @ x)[np.newaxis], 640)


@each_dtype
def test_one_class(dtype, level):
    tree, (x, node_weight, target) = tree_problem(1, dtype=dtype)
    assert tree.codes == ("",) and node_weight.shape == (0, 7)
    value, (grad_x, grad_weight) = hierarchical.value_and_grad(x, node_weight, target, tree)
    assert value == 0 and not grad_x.any() and grad_weight.shape == (0, 7)
    rows, values = hierarchical.grad(x, node_weight, target, tree, sparse=True)[1]
    assert rows.shape == (0,) and values.shape == (0, 7) and values.dtype == dtype
    assert_same_bits(tree.probabilities(x, node_weight), np.ones((40, 1), dtype))


@each_number_of_classes
@each_dtype
def test_the_loss_is_minus_the_logarithm_of_the_probability(classes, dtype, level):
    tree, (x, node_weight, target) = tree_problem(classes, dtype=dtype)
    p = tree.probabilities(x, node_weight)
    eps = float(np.finfo(dtype).eps)
    assert p.dtype == dtype and p.shape == (40, classes)
    np.testing.assert_allclose(p.sum(axis=1, dtype=float), 1, rtol=20 * eps)
    losses = hierarchical(x, node_weight, target, tree, reduction="none")
    of_scores = float(np.abs(x).max() * np.abs(node_weight).max(initial=0)) * 7 * tree.depth
    np.testing.assert_allclose(losses, -np.log(p[np.arange(40), target]), rtol=8 * eps, atol=8 * eps * of_scores)


@pytest.mark.parametrize("classes", [1, 2, 3, 10, 300])
@pytest.mark.parametrize("samples, length", [(0, 3), (1, 1), (17, 33), (130, 5), (40, 64)])
@each_dtype
def test_sizes(classes, samples, length, dtype, level):
    tree, (x, node_weight, target) = tree_problem(classes, samples, length, dtype, seed=classes)
    problem = TREES[0].problem((samples, length), dtype=dtype)
    problem = problem.with_({"tree": tree}, x=x, node_weight=node_weight, target=target)
    for reduction in ("mean", "sum", "none"):
        problem.assert_as_expected(reduction=reduction)
        problem.assert_as_expected(reduction=reduction, sample_weight=problem.weight())


def test_many_classes_and_samples():
    tree, (x, node_weight, target) = tree_problem(100_000, 3000, 3, np.float32)
    problem = TREES[0].problem((1, 1), dtype=np.float32)
    problem = problem.with_({"tree": tree}, x=x, node_weight=node_weight, target=target)
    problem.assert_as_expected(sample_weight=problem.weight())


def test_vectors_without_elements():
    """All scores are 0."""
    tree, (x, node_weight, target) = tree_problem(10, length=0)
    losses = hierarchical(x, node_weight, target, tree, reduction="none")
    assert_close(losses, tree.lengths[target] * np.log(2), 4)
    assert [g.shape for g in hierarchical.grad(x, node_weight, target, tree)] == [(40, 0), (9, 0)]
    assert_close(tree.probabilities(x, node_weight), np.tile(0.5**tree.lengths, (40, 1)), 0)


@each_dtype
def test_confident_decisions(dtype, level):
    """Losses and probabilities keep their relative accuracy where they are small."""
    tree = fl.HuffmanTree.from_codes(["0", "1"])
    score = np.array([[-700.0], [-80.0], [-20.0], [20.0], [80.0], [700.0]], dtype)
    one = np.ones((1, 1), dtype)
    for target, sign in ((0, 1), (1, -1)):
        losses = hierarchical(score, one, [target] * 6, tree, reduction="none")
        assert_close(losses, softplus(sign * score[:, 0].astype(float)), 4)
    with np.errstate(under="ignore"):
        assert_close(tree.probabilities(score, one)[:, 1], sigmoid(score[:, 0].astype(np.longdouble)), 4)


def test_nan_reaches_its_sample_and_the_nodes_of_its_path():
    tree, (x, node_weight, target) = tree_problem(10)
    for special in (NAN, INF, -INF):
        bad = x.copy()
        bad[3, 2] = special
        losses, clean = (hierarchical(a, node_weight, target, tree, reduction="none") for a in (bad, x))
        others = np.arange(40) != 3
        assert_same_bits(losses[others], clean[others])
        (grad_x, grad_weight), expected = (hierarchical.grad(a, node_weight, target, tree) for a in (bad, x))
        assert_same_bits(grad_x[others], expected[0][others])
        path = hierarchical.grad(x[3:4], node_weight, target[3:4], tree, sparse=True)[1][0]
        off = np.setdiff1d(np.arange(9), path)
        assert_same_bits(grad_weight[off], expected[1][off])
        if np.isnan(special):
            assert np.isnan(losses[3]) and np.isnan(grad_x[3]).all() and np.isnan(grad_weight[path]).all()


# ---------------------------------------------------------------------------------------------------------------------
# Hierarchical softmax: sparse gradients, threads, memory


@each_number_of_classes
@each_dtype
def test_sparse_gradients_are_the_rows_of_the_dense_ones(classes, dtype, level):
    for samples in (0, 1, 40):
        tree, (x, node_weight, target) = tree_problem(classes, samples, dtype=dtype)
        codes, weight = tree.codes, (np.arange(samples) % 3).astype(float)
        for common in ({}, {"sample_weight": weight}, {"reduction": "sum"}):
            value, (grad_x, grad_weight) = hierarchical.value_and_grad(x, node_weight, target, tree, **common)
            sparse = hierarchical.value_and_grad(x, node_weight, target, tree, sparse=True, **common)
            same_value, (same_grad, (rows, values)) = sparse
            assert rows.dtype == np.int64 and np.all(np.diff(rows) > 0)
            assert values.dtype == dtype and values.shape == (len(rows), 7)
            assert_same_bits((same_value, same_grad), (value, grad_x))
            assert_same_bits(dense(rows, values, node_weight.shape), grad_weight)
            counted = target[weight != 0] if "sample_weight" in common else target
            touched = {codes[c][:k] for c in counted for k in range(len(codes[c]))}
            assert len(rows) == len(touched)
            only = hierarchical.grad(x, node_weight, target, tree, sparse=True, **common)
            assert_same_bits(only, (grad_x, (rows, values)))


def test_sparse_changes_no_value_and_no_normalizer():
    tree, inputs = tree_problem(10)
    assert hierarchical(*inputs, tree, sparse=True) == hierarchical(*inputs, tree)
    assert hierarchical.normalizer(*inputs, tree, sparse=True) == 40


@each_dtype
@pytest.mark.parametrize("shape", [(3000, 40), (300, 700), (90_000, 1)])
def test_same_bits_for_any_number_of_threads(dtype, shape):
    tree, inputs = tree_problem(5000, *shape, dtype)
    weight = np.random.default_rng(1).random(shape[0])
    results = []
    for threads in (1, 2, 3, 5):
        fl.set_num_threads(threads)
        out = like((inputs[0], inputs[1]))
        results.append(
            (
                hierarchical.value_and_grad(*inputs, tree),
                hierarchical.grad(*inputs, tree, sample_weight=weight, out=out),
                hierarchical.grad(*inputs, tree, sample_weight=weight, sparse=True),
                hierarchical(*inputs, tree, reduction="none"),
                tree.probabilities(inputs[0][:20], inputs[1]),
            )
        )
    for other in results[1:]:
        assert_same_bits(other, results[0])


@each_dtype
def test_out_is_cleared_and_nothing_is_written_outside(dtype, level):
    for classes in (1, 2, 10, 3000):
        tree, inputs = tree_problem(classes, dtype=dtype)
        expected = hierarchical.grad(*inputs, tree)
        guarded = Guarded(expected, shift=3)
        for x in guarded.arrays:
            x[...] = NAN
        assert_same_bits(hierarchical.grad(*inputs, tree, out=guarded.arrays), expected)
        guarded.assert_untouched()


def test_out_may_be_the_inputs_in_any_order():
    tree, (x, node_weight, target) = tree_problem(41)
    expected = hierarchical.value_and_grad(x, node_weight, target, tree)
    for swapped in (False, True):
        a, b = x.copy(), node_weight.copy()
        out = (b, a) if swapped else (a, b)
        assert_same_bits(hierarchical.value_and_grad(a, b, target, tree, out=out), expected)


def test_node_weight_of_any_layout_and_dtype():
    tree, (x, node_weight, target) = tree_problem(10, dtype=np.float32)
    node_weight = np.rint(4 * node_weight)
    expected = hierarchical.value_and_grad(x, node_weight, target, tree)
    for layout in LAYOUTS:
        assert_same_bits(hierarchical.value_and_grad(x, layout(node_weight), target, tree), expected)
    for dtype in ("bhiqefd", ">f4", ">i2", "g", *HALVES.values()):
        for one in dtype if isinstance(dtype, str) and dtype[0] != ">" else [dtype]:
            assert_same_bits(hierarchical.value_and_grad(x, node_weight.astype(one), target, tree), expected)
            assert_same_bits(
                tree.probabilities(x, node_weight.astype(one)), tree.probabilities(x, node_weight.astype(np.float32))
            )


@pytest.mark.parametrize("half", HALVES.values(), ids=HALVES)
def test_probabilities_of_half_precision(half):
    tree, (x, node_weight, _) = tree_problem(10, dtype=np.float32)
    x, node_weight = x.astype(half), node_weight.astype(half)
    p = tree.probabilities(x, node_weight)
    assert p.dtype == half
    assert_same_bits(p, tree.probabilities(x.astype(np.float32), node_weight.astype(np.float32)).astype(half))


def test_probabilities_in_several_pieces(monkeypatch):
    tree, (x, node_weight, _) = tree_problem(1000)
    expected = tree.probabilities(x, node_weight)
    for nbytes in (1, 24_000):
        monkeypatch.setattr(trees, "SCORE_BYTES", nbytes)
        np.testing.assert_allclose(tree.probabilities(x, node_weight), expected, rtol=1e-13)
    assert tree.probabilities(x[:0], node_weight).shape == (0, 1000)


def test_memory_of_a_small_batch_does_not_grow_with_the_classes():
    tree, (x, node_weight, target) = tree_problem(100_000, 32, 16, np.float32)
    assert peak_of(lambda: hierarchical.value_and_grad(x, node_weight, target, tree, sparse=True)) < 256 * 1024
    assert peak_of(lambda: hierarchical(x, node_weight, target, tree)) < 64 * 1024


def test_memory_of_a_gradient_is_that_of_its_decisions():
    tree, (x, node_weight, target) = tree_problem(1000, 20_000, 3, np.float32)
    out = like((x, node_weight))
    decisions = int(tree.lengths[target].sum())
    peak = peak_of(lambda: hierarchical.grad(x, node_weight, target, tree, out=out))
    assert 32 * decisions < peak < 32 * decisions + 24 * len(x) + 256 * 1024


# ---------------------------------------------------------------------------------------------------------------------
# Hierarchical softmax: labels and errors


def test_labels_of_any_integer_dtype():
    tree, (x, node_weight, target) = tree_problem(100)
    expected = hierarchical.value_and_grad(x, node_weight, target, tree)
    for dtype in (*INTEGERS, ">i4"):
        assert_same_bits(hierarchical.value_and_grad(x, node_weight, target.astype(dtype), tree), expected)
    assert_same_bits(hierarchical.value_and_grad(x, node_weight, target.tolist(), tree), expected)
    for dtype in (float, bool):
        with raises(TypeError, f"target must hold class labels of an integer dtype, not {np.dtype(dtype)}"):
            hierarchical(x, node_weight, target.astype(dtype), tree)


@pytest.mark.parametrize("bad", [-1, 10, 255, 2**31, 2**32 + 3, -(2**63), 2**63 - 1])
def test_a_label_outside_of_the_tree(bad):
    tree, (x, node_weight, target) = tree_problem(10)
    target[[3, 5]] = bad
    out = x.copy(), node_weight.copy()
    before = x.copy(), node_weight.copy()
    for sparse in (False, True):
        for method in ("value_and_grad", "grad", "normalizer"):
            with raises(ValueError, f"target[3] = {bad} is not a class index in [0, 10)"):
                getattr(hierarchical, method)(x, node_weight, target, tree, sparse=sparse)
    with raises(ValueError, f"target[3] = {bad} is not a class index in [0, 10)"):
        hierarchical.grad(*out, target, tree, out=out)
    assert_same_bits(out, before)
    # Under a weight of 0 it may be anything.
    weight = np.ones(40)
    weight[3] = 0
    with raises(ValueError, f"target[5] = {bad} is not a class index in [0, 10)"):
        hierarchical(x, node_weight, target, tree, sample_weight=weight)
    weight[5] = 0
    good = np.where(weight == 0, 0, target)
    dirty = np.where(weight[:, np.newaxis] == 0, NAN, x)
    actual = hierarchical.value_and_grad(dirty, node_weight, target, tree, sample_weight=weight)
    assert_same_bits(actual, hierarchical.value_and_grad(x, node_weight, good, tree, sample_weight=weight))
    assert not actual[1][0][weight == 0].any()


def test_unsigned_labels_beyond_63_bits():
    tree, (x, node_weight, target) = tree_problem(10)
    target = target.astype(np.uint64)
    target[7] = 2**64 - 1
    with raises(ValueError, f"target[7] = {2**64 - 1} is not a class index in [0, 10)"):
        hierarchical(x, node_weight, target, tree)


def test_no_derivatives_of_single_losses():
    tree, inputs = tree_problem(10)
    text = "reduction='none' goes with the value alone: hierarchical_cross_entropy adds up its gradients"
    for sparse in (False, True):
        for method in ("grad", "value_and_grad"):
            with raises(ValueError, text):
                getattr(hierarchical, method)(*inputs, tree, reduction="none", sparse=sparse)
        assert hierarchical(*inputs, tree, reduction="none", sparse=sparse).shape == (40,)


def test_errors_of_the_arguments():
    tree, (x, node_weight, target) = tree_problem(10)
    for bad in (None, tree.codes, np.ones(10), "tree", fl.HuffmanTree):
        with pytest.raises(TypeError, match="^tree must be a HuffmanTree, not "):
            hierarchical(x, node_weight, target, bad)
    for shape in [(10, 7), (9, 6), (9,), (9, 7, 1)]:
        text = f"node_weight must have shape (9, 7), a row for each inner node of the tree, not {shape}"
        with raises(ValueError, text):
            hierarchical(x, np.ones(shape), target, tree)
        with raises(ValueError, text):
            tree.probabilities(x, np.ones(shape))
    for shape in [(7,), (40, 7, 1), ()]:
        text = f"x must have shape (N, D), at most 2^30 vectors as rows, not {shape}"
        with raises(ValueError, text):
            hierarchical(np.ones(shape), node_weight, target, tree)
    with raises(ValueError, "target must have shape (40,), a label for each sample, not (39,)"):
        hierarchical(x, node_weight, target[:39], tree)
    with raises(ValueError, "out goes with sparse=False: the number of rows is not known before the call"):
        hierarchical.grad(x, node_weight, target, tree, sparse=True, out=like((x, node_weight)))
    with raises(ValueError, "out[1] must have shape (9, 7), not (9, 6)"):
        hierarchical.grad(x, node_weight, target, tree, out=(like(x), np.empty((9, 6))))


# ---------------------------------------------------------------------------------------------------------------------
# Trees


def least_cost(counts):
    """The sum of count times length of a code, for the best code."""
    heap, cost = [float(x) for x in counts], 0.0
    heapq.heapify(heap)
    while len(heap) > 1:
        heap_sum = heapq.heappop(heap) + heapq.heappop(heap)
        cost += heap_sum
        heapq.heappush(heap, heap_sum)
    return cost


def random_counts(rng, classes):
    yield rng.integers(0, 4, classes)  # many ties, and classes that never occur
    yield rng.integers(0, 2, classes).astype(bool)
    yield rng.exponential(size=classes) ** 5
    yield 1 / np.arange(1, classes + 1)
    yield np.zeros(classes)
    yield 2.0 ** -np.arange(classes)  # a chain, until the counts are too small for a sum to differ


@pytest.mark.parametrize("classes", [1, 2, 3, 4, 5, 17, 64, 65, 1000, 100_000])
def test_codes_are_the_shortest(classes):
    rng = np.random.default_rng(classes)
    for counts in random_counts(rng, classes):
        tree = fl.HuffmanTree(counts)
        assert tree.classes == classes and len(tree.codes) == classes
        assert [len(code) for code in tree.codes] == tree.lengths.tolist()
        assert tree.depth == tree.lengths.max()
        np.testing.assert_allclose(np.dot(np.asarray(counts, float), tree.lengths), least_cost(counts), rtol=1e-12)
        if classes > 1 and tree.depth < 50:
            assert np.sum(0.5**tree.lengths) == 1


def test_codes_of_small_trees():
    for counts, codes in [
        ([1], [""]),
        ([3, 1], ["1", "0"]),
        ([1, 1], ["0", "1"]),
        ([5, 1, 2, 0], ["1", "001", "01", "000"]),
        ([0, 0, 0, 0], ["00", "01", "10", "11"]),
        ([1, 1, 2], ["10", "11", "0"]),  # of equal weights, a class comes before a tree of two
    ]:
        for dtype in (np.int8, np.float32, object):
            given = counts if dtype is object else np.array(counts, dtype)
            assert fl.HuffmanTree(given).codes == tuple(codes)


@pytest.mark.parametrize("classes", [2, 3, 7, 8, 9, 1000])
def test_equal_counts_make_a_balanced_tree(classes):
    for count in (0, 1, 0.3):
        lengths = fl.HuffmanTree(np.full(classes, count)).lengths
        assert lengths.max() - lengths.min() <= 1
    # So do the classes that never occur, below the others.
    lengths = fl.HuffmanTree([*[0] * classes, 5, 9]).lengths
    assert lengths[:classes].max() <= 2 + np.ceil(np.log2(classes))


def test_counts_of_any_size():
    assert fl.HuffmanTree([1e308] * 4).depth == 2  # their sum is infinite
    assert fl.HuffmanTree([5e-324, 0, 5e-324]).lengths.tolist() == [2, 2, 1]
    assert fl.HuffmanTree(np.array([2**64 - 1, 1], np.uint64)).codes == ("1", "0")


def test_codes_determine_the_tree():
    tree, (x, node_weight, target) = tree_problem(100)
    same = fl.HuffmanTree.from_codes(tree.codes)
    assert same.codes == tree.codes and type(same) is fl.HuffmanTree
    expected = hierarchical.value_and_grad(x, node_weight, target, tree)
    assert_same_bits(hierarchical.value_and_grad(x, node_weight, target, same), expected)
    for form in (list, tuple, lambda code: np.array([*map(int, code)], np.int8), lambda code: [x == "1" for x in code]):
        assert fl.HuffmanTree.from_codes([form(code) for code in tree.codes]).codes == tree.codes
    assert fl.HuffmanTree.from_codes(("10", "0", "11")).codes == ("10", "0", "11")
    assert fl.HuffmanTree.from_codes(np.array([[0, 0], [0, 1], [1, 0], [1, 1]])).depth == 2


def test_a_deep_tree():
    """Class c is the first one whose decision is 0."""
    n = 400
    tree = fl.HuffmanTree.from_codes(["1" * c + "0" for c in range(n - 1)] + ["1" * (n - 1)])
    assert tree.depth == n - 1
    x, node_weight = np.ones((2, 1)), np.linspace(-1, 1, n - 1)[:, np.newaxis]
    value, (grad_x, grad_weight) = hierarchical.value_and_grad(x, node_weight, [n - 1, 5], tree, reduction="sum")
    z = node_weight[:, 0]
    assert value == pytest.approx(softplus(-z).sum() + softplus(-z[:5]).sum() + softplus(z[5]), rel=1e-14)
    slope = -sigmoid(-z) + np.where(np.arange(n - 1) < 5, -sigmoid(-z), 0)
    slope[5] += sigmoid(z[5])
    assert_close(grad_weight[:, 0], slope, 8)
    assert_close(
        grad_x, np.array([[np.sum(-sigmoid(-z) * z)], [np.sum(-sigmoid(-z[:5]) * z[:5]) + sigmoid(z[5]) * z[5]]]), 640
    )


@pytest.mark.parametrize(
    "codes, text",
    [
        (["0", "10", "1"], "codes[2] = '1' is the beginning of codes[1] = '10'"),
        (["1", "10", "0"], "codes[1] = '10' begins with codes[0] = '1'"),
        (["0", "1", "0"], "codes[2] = '0' begins with codes[0] = '0'"),
        (["", "1"], "codes[0] = '' is the beginning of codes[1] = '1'"),
        (["1", ""], "codes[1] = '' is the beginning of codes[0] = '1'"),
        (["", ""], "codes[0] = '' begins with codes[1] = ''"),
        (["0"], "codes must be complete, and none begins with '1'"),
        (["00", "1", "011"], "codes must be complete, and none begins with '010'"),
        (["0", "12"], "codes[1] = '12' must consist of 0 and 1"),
        ([[0], [1, 2]], "codes[1] = [1, 2] must consist of 0 and 1"),
        ([[0], [0.5]], "codes[1] = [0.5] must consist of 0 and 1"),
        ([b"0", b"1"], "codes[0] = b'0' must consist of 0 and 1"),
        ([], "codes must hold the codes of 1 to 2^30 classes, not of 0"),
    ],
)
def test_codes_that_make_no_tree(codes, text):
    with raises(ValueError, text):
        fl.HuffmanTree.from_codes(codes)


def test_types_of_codes_and_counts():
    for bad in (None, "01", b"01", 5, iter(["0", "1"])):
        with pytest.raises(TypeError, match="^codes must be a sequence of codes, not "):
            fl.HuffmanTree.from_codes(bad)
    for bad, name in ((None, "None"), (0, "int")):
        with raises(TypeError, f"codes[1] must be a string or a sequence of 0 and 1, not {name}"):
            fl.HuffmanTree.from_codes(["0", bad])
    for bad in ("abc", None, [1j, 2], [None]):
        with pytest.raises(TypeError, match=r"^counts must be real \(bool, integer or float\), not "):
            fl.HuffmanTree(bad)
    for bad in ([], 3, [[1, 2]]):
        shape = np.shape(bad)
        with raises(ValueError, f"counts must have shape (C,), a count for each of 1 to 2^30 classes, not {shape}"):
            fl.HuffmanTree(bad)
    for bad in (-1.0, NAN, INF):
        with raises(ValueError, f"counts[2] = {bad} is not a finite count >= 0"):
            fl.HuffmanTree([1, 2, bad, bad])


def test_a_tree_cannot_be_changed():
    tree = fl.HuffmanTree([1, 2, 3])
    for name in ("classes", "codes", "lengths", "depth", "up", "other"):
        with pytest.raises(AttributeError):
            setattr(tree, name, 1)
    tree.lengths[0] = 100
    assert tree.codes == ("10", "11", "0") and tree.lengths.tolist() == [2, 2, 1]
    tree.__init__([1])
    assert tree.classes == 3


@pytest.mark.parametrize("classes", [1, 2, 3, 1000])
def test_trees_can_be_copied_and_pickled(classes):
    tree, (x, node_weight, target) = tree_problem(classes)
    expected = hierarchical.value_and_grad(x, node_weight, target, tree)
    copies = [pickle.loads(pickle.dumps(tree, k)) for k in range(pickle.HIGHEST_PROTOCOL + 1)]
    for same in [*copies, copy.copy(tree), copy.deepcopy(tree)]:
        assert type(same) is fl.HuffmanTree and same.codes == tree.codes
        assert_same_bits(hierarchical.value_and_grad(x, node_weight, target, same), expected)


@pytest.mark.parametrize(
    "children",
    [
        [[-1, -1]],  # one class twice
        [[-1, -3]],  # no such class
        [[-1, 0]],  # a circle
        [[-1, 1]],  # no such node
        [[1, 1], [-1, -2]],  # one node twice
        [[-1, -2], [-3, -1]],  # a node that no way leads to
        [[1, -1], [0, -2]],
        [[1, 2], [-1, -2], [2, -3]],
        [[2**31 - 1, -(2**31)]],
    ],
)
def test_a_tree_from_a_bad_pickle_is_refused(children):
    """Kernels trust a tree, so nothing may make one whose ways lead out of it."""
    make, _ = fl.HuffmanTree([1, 2]).__reduce__()
    with raises(ValueError, "children must be those of one binary tree"):
        make(np.array(children))


def test_the_name_and_the_number_of_classes():
    assert repr(fl.HuffmanTree([1, 2, 3])) == "<HuffmanTree of 3 classes, depth 2>"
    assert leaves(fl.HuffmanTree([1, 2, 3]).classes) == [3]
