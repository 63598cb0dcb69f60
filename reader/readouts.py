"""Linear read-outs of activations: regression, and discriminants between groups.

This file knows vectors, not what they stand for.
"""

import torch
from torch import Tensor


def ridge(
    given: Tensor, wanted: Tensor, weights: Tensor, damping: float = 1e-2
) -> tuple[Tensor, Tensor]:
    """Weight `[out, in]` and bias `[out]` of the weighted ridge regression from given to wanted."""
    x, y, w = given.double(), wanted.double(), weights.double()[:, None]
    centre, target = (x * w).sum(0) / w.sum(), (y * w).sum(0) / w.sum()
    x, y = (x - centre) * w.sqrt(), (y - target) * w.sqrt()
    gram = x.T @ x
    gram += damping * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    weight = torch.linalg.solve(gram, x.T @ y).T
    return weight.float(), (target - weight @ centre).float()


def discriminants(
    vectors: Tensor, groups: Tensor, weights: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """The directions that best tell groups apart within their spread, of unit variance between them.

    `vectors` `[n, in]`, `groups` int64 `[n]`, `weights` float64 `[n]`; returns weight `[count, in]` and
    bias `[count]`. Linear discriminant analysis, the spread within groups damped by 3 % of that between.
    """
    vectors = vectors.double()
    size = vectors.shape[1]
    total = torch.zeros(int(groups.max()) + 1).double().index_add_(0, groups, weights)
    means = torch.zeros(len(total), size).double()
    means.index_add_(0, groups, vectors * weights[:, None])
    present = total > 0
    means[present] /= total[present, None]
    inside = vectors - means[groups]
    within = (inside * weights[:, None]).T @ inside / weights.sum()
    means, total = means[present], total[present]
    centre = (means * total[:, None]).sum(0) / total.sum()
    means = means - centre
    between = (means * total[:, None]).T @ means / total.sum()
    within += 0.03 * between.diagonal().mean() * torch.eye(size).double()
    whiten = torch.linalg.inv(torch.linalg.cholesky(within))
    directions = torch.linalg.eigh(whiten @ between @ whiten.T)[1].T @ whiten
    directions = directions[-count:]
    spread, axes = torch.linalg.eigh(directions @ between @ directions.T)
    directions = spread.rsqrt().diag() @ axes.T @ directions
    return directions.float(), -(directions @ centre).float()
