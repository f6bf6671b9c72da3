"""PyTorch, eager. It uses its own loss if it has one, and else the formula as PyTorch users write it."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from ..case import Case
from ..shared_types import Arrays, Call

VERSION = torch.__version__


def _binary_focal(p: Any, t: Any) -> Any:
    right = p * t + (1 - p) * (1 - t)
    return -((1 - right) ** 2 * torch.log(right).clamp(min=-100)).mean()


def _sigmoid_focal(z: Any, t: Any) -> Any:
    """As in torchvision.ops, without alpha."""
    p = torch.sigmoid(z)
    wrong = p * (1 - t) + (1 - p) * t
    return (F.binary_cross_entropy_with_logits(z, t, reduction="none") * wrong**2).mean()


def _sigmoid_poly1(z: Any, t: Any) -> Any:
    p = torch.sigmoid(z)
    return F.binary_cross_entropy_with_logits(z, t) + (p * (1 - t) + (1 - p) * t).mean()


def _log_cosh(p: Any, t: Any) -> Any:
    size = (p - t).abs()
    return (size + torch.log1p(torch.exp(-2 * size))).mean() - 0.6931471805599453


def _modified_huber(z: Any, t: Any) -> Any:
    margin = t * z
    return torch.where(margin >= -1, F.relu(1 - margin) ** 2, -4 * margin).mean()


def _tukey(p: Any, t: Any) -> Any:
    return (1 - F.relu(1 - (p - t) ** 2) ** 3).mean() / 6


def _fair(p: Any, t: Any) -> Any:
    u = (p - t).abs()
    return (u - torch.log1p(u)).mean()


def _geman_mcclure(p: Any, t: Any) -> Any:
    square = (p - t) ** 2
    return (square / (1 + square)).mean() / 2


def _contrastive(x: Any, y: Any, same: Any) -> Any:
    d = F.pairwise_distance(x, y, eps=0)
    return (same * d**2 + (1 - same) * F.relu(1 - d) ** 2).mean() / 2


def _quantile(p: Any, t: Any, q: float = 0.5) -> Any:
    e = t - p
    return torch.maximum(q * e, (q - 1) * e).mean()


def _expectile(p: Any, t: Any, q: float = 0.5) -> Any:
    r = p - t
    return (torch.where(r > 0, 1 - q, q) * r**2).mean()


def _of_label(x: Any, t: Any) -> Any:
    """The class axis is 1 in every case."""
    return x.gather(1, t[:, None]).squeeze(1)


def _softmax_focal(z: Any, t: Any) -> Any:
    loss = F.cross_entropy(z, t, reduction="none")
    return ((1 - torch.exp(-loss)) ** 2 * loss).mean()


def _poly1_cross_entropy(z: Any, t: Any) -> Any:
    loss = F.cross_entropy(z, t, reduction="none")
    return (loss + 1 - torch.exp(-loss)).mean()


def _crammer_singer(z: Any, t: Any) -> Any:
    others = z.scatter(1, t[:, None], -torch.inf)
    return F.relu(1 + others.max(1).values - _of_label(z, t)).mean()


def _multiclass_hinge(z: Any, t: Any) -> Any:
    """PyTorch's loss has the classes last and divides by their number."""
    return F.multi_margin_loss(z.movedim(1, -1).flatten(0, -2), t.flatten()) * z.shape[1]


def _js_divergence(p: Any, t: Any) -> Any:
    m = torch.logaddexp(p, t) - 0.6931471805599453
    return sum(F.kl_div(m, x, log_target=True, reduction="batchmean") for x in (p, t)) / 2


def _clip(x: Any, y: Any, scale: Any) -> Any:
    s, own = scale * x @ y.T, torch.arange(len(x))
    return (F.cross_entropy(s, own) + F.cross_entropy(s.T, own)) / 2


def _siglip(x: Any, y: Any, scale: Any, bias: Any) -> Any:
    sign = 2 * torch.eye(len(x), dtype=x.dtype) - 1
    return -F.logsigmoid(sign * (scale * x @ y.T + bias)).sum() / len(x)


def _nt_xent(z1: Any, z2: Any) -> Any:
    z = F.normalize(torch.cat([z1, z2]))
    s = (z @ z.T / 0.5).fill_diagonal_(-torch.inf)
    return F.cross_entropy(s, torch.arange(len(z)).roll(len(z1)))


def _supcon(z: Any, labels: Any) -> Any:
    s = (z @ z.T / 0.1).fill_diagonal_(-torch.inf)
    same = (labels[:, None] == labels).fill_diagonal_(False)
    return (torch.logsumexp(s, 1) - torch.where(same, s, 0).sum(1) / same.sum(1)).mean()


def _ctc(z: Any, targets: Any, frames: Any, lengths: Any) -> Any:
    """The mean of PyTorch's loss divides by the lengths of the targets."""
    return F.ctc_loss(z.log_softmax(-1), targets, frames, lengths, reduction="sum") / z.shape[1]


def _batch_hard_triplet(z: Any, labels: Any) -> Any:
    same = labels[:, None] == labels
    d = torch.cdist(z.detach(), z.detach())
    far, near = torch.where(same, d, -1).argmax(1), torch.where(same, torch.inf, d).argmin(1)
    return F.relu(torch.linalg.norm(z - z[far], dim=1) - torch.linalg.norm(z - z[near], dim=1) + 1).mean()


LOSSES: dict[str, Callable[..., Any]] = {
    "mse": F.mse_loss,
    "mae": F.l1_loss,
    "huber": F.huber_loss,
    "smooth_l1": F.smooth_l1_loss,
    "pseudo_huber": lambda p, t: (torch.sqrt(1 + (p - t) ** 2) - 1).mean(),
    "log_cosh": _log_cosh,
    "quantile": _quantile,
    "expectile": _expectile,
    "epsilon_insensitive": lambda p, t: F.relu((p - t).abs() - 0.1).mean(),
    "squared_epsilon_insensitive": lambda p, t: (F.relu((p - t).abs() - 0.1) ** 2).mean(),
    "msle": lambda p, t: F.mse_loss(torch.log1p(p), torch.log1p(t)),
    "mape": lambda p, t: ((p - t).abs() / t.abs().clamp(min=torch.finfo(t.dtype).eps)).mean(),
    "poisson_nll": F.poisson_nll_loss,
    "gamma_nll": lambda p, t: (t * torch.exp(-p) + p).mean(),
    "tweedie": lambda p, t: (2 * t * torch.exp(-0.5 * p) + 2 * torch.exp(0.5 * p)).mean(),
    "gaussian_nll": F.gaussian_nll_loss,
    "cauchy": lambda p, t: torch.log1p((p - t) ** 2).mean() / 2,
    "welsch": lambda p, t: -torch.expm1(-((p - t) ** 2)).mean() / 2,
    "geman_mcclure": _geman_mcclure,
    "fair": _fair,
    "tukey": _tukey,
    "binary_cross_entropy": F.binary_cross_entropy,
    "binary_cross_entropy_with_logits": F.binary_cross_entropy_with_logits,
    "binary_focal": _binary_focal,
    "sigmoid_focal": _sigmoid_focal,
    "sigmoid_poly1": _sigmoid_poly1,
    "brier": lambda z, t: F.mse_loss(torch.sigmoid(z), t),
    "hinge": lambda z, t: F.relu(1 - z * t).mean(),
    "squared_hinge": lambda z, t: (F.relu(1 - z * t) ** 2).mean(),
    "modified_huber": _modified_huber,
    "logistic": F.soft_margin_loss,
    "exponential": lambda z, t: torch.exp(-t * z).mean(),
    "perceptron": lambda z, t: F.relu(-t * z).mean(),
    "l1": lambda w: w.abs().sum(),
    "l2": lambda w: (w**2).sum() / 2,
    "elastic_net": lambda w: 0.5 * w.abs().sum() + 0.25 * (w**2).sum(),
    "cross_entropy": F.cross_entropy,
    "softmax_focal": _softmax_focal,
    "poly1_cross_entropy": _poly1_cross_entropy,
    "multilabel_soft_margin": F.multilabel_soft_margin_loss,
    "multiclass_hinge": _multiclass_hinge,
    "crammer_singer": _crammer_singer,
    "categorical_cross_entropy": lambda p, t: -torch.log(_of_label(p, t)).clamp(min=-100).mean(),
    "nll": F.nll_loss,
    "kl_divergence": lambda p, t: F.kl_div(p, t, reduction="batchmean"),
    "js_divergence": _js_divergence,
    "info_nce": lambda x, y: F.cross_entropy(x @ y.T / 0.07, torch.arange(len(x))),
    "clip": _clip,
    "siglip": _siglip,
    "nt_xent": _nt_xent,
    "supcon": _supcon,
    "batch_hard_triplet": _batch_hard_triplet,
    "ctc": _ctc,
    "linear_cross_entropy": F.linear_cross_entropy,
    "linear_softmax_focal": lambda x, w, t: _softmax_focal(F.linear(x, w), t),
    "linear_poly1_cross_entropy": lambda x, w, t: _poly1_cross_entropy(F.linear(x, w), t),
    "linear_multiclass_hinge": lambda x, w, t: _multiclass_hinge(F.linear(x, w), t),
    "gaussian_kl": lambda mu, log_var: (log_var.exp() - 1 - log_var + mu**2).sum(-1).mean() / 2,
    "contrastive": _contrastive,
    "triplet": F.triplet_margin_loss,
    "cosine_embedding": F.cosine_embedding_loss,
    "cosine_distance": lambda p, t: (1 - F.cosine_similarity(p, t)).mean(),
    "margin_ranking": F.margin_ranking_loss,
    "hinge_embedding": F.hinge_embedding_loss,
}


def bind(
    case: Case, inputs: Arrays, threads: int, prepare: Callable[[Any], Any] = lambda function: function
) -> Call | None:
    torch.set_num_threads(threads)
    if case.loss not in LOSSES:
        return None
    function = prepare(LOSSES[case.loss])
    tensors = [torch.from_numpy(x) for x in inputs]
    differentiable = [tensors[k].requires_grad_() for k in case.differentiable]

    def call() -> tuple[Any, Any]:
        value = function(*tensors)
        grads = torch.autograd.grad(value, differentiable)
        return value.item(), grads if len(grads) > 1 else grads[0]

    return call
