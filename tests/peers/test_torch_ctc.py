"""PyTorch: ctc_loss of log_softmax."""

import numpy as np
import pytest

import fastloss as fl
from tests.losses.comparing import assert_close
from tests.losses.support import random
from tests.peers.comparing import assert_agree

FRAMES, LENGTHS = np.array([12, 10, 3, 12, 8, 6]), np.array([4, 3, 0, 2, 4, 4])


def theirs(torch, logits, targets, frames, lengths, **options):
    """Value and gradient with respect to the logits."""
    z = torch.tensor(logits, requires_grad=True)
    lengths = (torch.tensor(x) for x in (targets, frames, lengths))
    value = torch.nn.functional.ctc_loss(z.log_softmax(-1), *lengths, **options)
    value.sum().backward()
    return value.detach().numpy(), z.grad.numpy()


def batch(blank=0, classes=6):
    """The last sequence has as many frames as it needs, or too few: its labels are drawn from two."""
    rng = np.random.default_rng(blank)
    labels = rng.integers(0, classes - 1, (6, 4))
    labels[-1] %= 2
    return 2 * random(12, 6, classes), labels + (labels >= blank)


@pytest.mark.parametrize("blank", [0, 3, 5])
@pytest.mark.parametrize("concatenated", [False, True])
def test_like_torch(torch, blank, concatenated):
    logits, targets = batch(blank)
    if concatenated:
        targets = np.concatenate([row[:n] for row, n in zip(targets, LENGTHS, strict=True)])
    arguments = logits, targets, FRAMES, LENGTHS
    for reduction in ("none", "sum"):
        options = {"blank": blank, "reduction": reduction, "zero_infinity": True}
        value, grad = theirs(torch, *arguments, **options)
        assert_agree(fl.ctc.value_and_grad(*arguments, **options), (value if value.ndim else float(value), grad), 40)


def test_mean_like_torch(torch):
    """It divides by the target length of each sequence, and then by the number of sequences."""
    logits, targets = batch()
    value, grad = theirs(torch, logits, targets, FRAMES, LENGTHS, zero_infinity=True)
    weight = 1 / np.maximum(LENGTHS, 1)
    ours = fl.ctc.value_and_grad(
        logits, targets, FRAMES, LENGTHS, sample_weight=weight, normalizer=6, zero_infinity=True
    )
    assert_agree(ours, (float(value), grad), 40)


def test_too_few_frames_like_torch(torch):
    arguments = random(4, 1, 3), np.array([[1, 1, 2]]), np.array([3]), np.array([3])
    value, grad = theirs(torch, *arguments, reduction="none")
    ours, of_ours = fl.ctc.value_and_grad(*arguments, reduction="none")
    assert value[0] == ours[0] == np.inf
    assert np.all(np.isnan(of_ours[:3])) and np.isnan(grad[:3]).any() and not of_ours[3].any()


def test_one_sequence_like_torch(torch):
    logits, targets = batch()
    arguments = logits[:, 0], targets[0, :3], np.array(11), np.array(3)
    value, grad = theirs(torch, *arguments, reduction="none")
    assert_agree(fl.ctc.value_and_grad(*arguments, reduction="none"), (value, grad), 40)


def test_samples_of_torch(torch):
    """The inputs that PyTorch tests its own operator with: log-probabilities, which a softmax leaves alone."""
    name = "torch.testing._internal.common_methods_invocations"
    operators = pytest.importorskip(name, exc_type=ImportError).op_db
    operator = next(x for x in operators if x.name == "nn.functional.ctc_loss")
    samples = list(operator.sample_inputs("cpu", torch.float64))
    assert len(samples) > 5
    for sample in samples:
        z, targets, frames, lengths = (np.asarray(x) for x in (sample.input, *sample.args))
        options = dict(sample.kwargs)
        expected = operator(sample.input, *sample.args, **options).numpy()
        if options["reduction"] == "mean":
            options |= {"sample_weight": 1 / np.maximum(lengths, 1), "normalizer": len(lengths)}
        assert_close(np.asarray(fl.ctc(z, targets, frames, lengths, **options)), expected, 40)
        plain = {"reduction": "sum", "zero_infinity": options["zero_infinity"]}
        value, grad = theirs(torch, z, targets, frames, lengths, **plain)
        assert_agree(fl.ctc.value_and_grad(z, targets, frames, lengths, **plain), (float(value), grad), 1000)
