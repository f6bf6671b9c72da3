"""pytorch-metric-learning."""

import numpy as np
import pytest

import fastloss as fl
from tests.losses.support import random
from tests.peers.comparing import assert_agree, batch_of_pairs, torch_value_and_grad


def test_batch_losses_like_pytorch_metric_learning(torch):
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.miners import BatchHardMiner
    from pytorch_metric_learning.reducers import MeanReducer

    x, y, labels = batch_of_pairs()

    def theirs(loss, labels, pred):
        return torch_value_and_grad(torch, lambda z: loss(z, torch.tensor(labels)), pred)

    value, grads = fl.nt_xent.value_and_grad(x, y, temperature=0.2)
    expected = theirs(losses.NTXentLoss(temperature=0.2), np.arange(48) % 24, np.concatenate([x, y]))
    assert_agree((value, np.concatenate(grads)), expected, 100)

    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    value, grad = fl.supcon.value_and_grad(unit, labels, temperature=0.2)
    grad -= np.sum(grad * unit, axis=1, keepdims=True) * unit  # theirs goes through a normalisation
    assert_agree((value, grad), theirs(losses.SupConLoss(temperature=0.2), labels, unit), 100)

    # Theirs averages over triplets that cost something, unless told to average over all that were mined.
    distance = LpDistance(normalize_embeddings=False)
    hinge, miner = (
        losses.TripletMarginLoss(margin=1.0, distance=distance, reducer=MeanReducer()),
        BatchHardMiner(distance=distance),
    )
    expected = theirs(lambda z, y: hinge(z, y, miner(z, y)), labels, 3 * x)
    assert_agree(fl.batch_hard_triplet.value_and_grad(3 * x, labels), expected, 100)


def test_supcon_of_samples_without_positives(torch):
    """They are not counted, and are negatives of the others, in pytorch-metric-learning too."""
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    x = random(6, 3)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    labels = np.array([0, 0, 1, 1, 2, 3])
    theirs = losses.SupConLoss(temperature=0.5)(torch.tensor(x), torch.tensor(labels)).item()
    assert fl.supcon(x, labels, temperature=0.5) == pytest.approx(theirs, rel=1e-13)
