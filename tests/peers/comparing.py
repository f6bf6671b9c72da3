"""Value and gradient of other libraries, in the form of ours."""

import numpy as np

from tests.losses.comparing import assert_close, leaves
from tests.losses.support import random


def torch_value_and_grad(torch, function, pred, *others, by=(), **options):
    """Value and gradient (of the sum, for unreduced losses) by autograd; `by` are others to differentiate by."""
    z = torch.tensor(pred, requires_grad=True)
    tensors = [torch.tensor(x, requires_grad=k in by) for k, x in enumerate(others)]
    options = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    value = function(z, *tensors, **options)
    value.sum().backward()
    result = value.detach().numpy()
    grads = [x.grad.numpy() for x in (z, *(tensors[k] for k in by))]
    return result if result.ndim else float(result), tuple(grads) if by else grads[0]


def assert_agree(ours, theirs, ulp=20):
    for a, b in zip(leaves(ours), leaves(theirs), strict=True):
        assert_close(a, b, ulp, np.max(np.abs(b), initial=0))


def batch_of_pairs():
    x, y = random(2, 24, 5)
    return x, y, np.arange(24) // 5
