"""From what is remembered to a few centres: masked pooling, soft assignment, likelihood of a mixture.

Shape suffixes: B rows, W entries, M interests, D width, C candidates.
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize

_FAINT = 1e-9


def shares(logit_BWM: Tensor, real_BW: Tensor) -> Tensor:
    """Softmax over the entries that there are; zeros in a row without one."""
    real_BW1 = real_BW[..., None]
    share_BWM: Tensor = (
        torch.softmax(logit_BWM.masked_fill(real_BW1 == 0, torch.finfo(logit_BWM.dtype).min), 1) * real_BW1
    )
    return share_BWM


def summed(weight_BWM: Tensor, value_BWD: Tensor) -> Tensor:
    """What the entries add up to, by the weights of each of M readers: (B, M, D)."""
    return weight_BWM.transpose(1, 2) @ value_BWD


def faded(real_BW: Tensor, newest: int, fade: float) -> Tensor:
    """`fade`^b for the b-th newest of the `newest` entries, else 0."""
    back_BW = places_back(real_BW)
    return fade**back_BW * real_BW * (back_BW < newest)


def places_back(real_BW: Tensor) -> Tensor:
    """How many entries are newer than each; 0 where there is none."""
    return (real_BW.flip(1).cumsum(1).flip(1) - 1.0).clamp(min=0.0)


def spread(weight_BW: Tensor, prior: float) -> Tensor:
    """Weights over the square root of their sum and a prior, as one reader's: (B, W, 1)."""
    return (weight_BW * torch.rsqrt(weight_BW.sum(1, keepdim=True) + prior))[..., None]


def assigned(entry_BWD: Tensor, centre_BMD: Tensor, temperature: float) -> Tensor:
    """How much of each entry belongs to each centre, by the cosine: (B, W, M)."""
    cosine_BWM = torch.bmm(normalize(entry_BWD, dim=2), normalize(centre_BMD, dim=2).transpose(1, 2))
    return torch.softmax(cosine_BWM / temperature, 2)


def mixed(query_BMD: Tensor, weight_BM: Tensor, item_BCD: Tensor) -> Tensor:
    """Log of the mean of exp(query . item) over queries, by their weights: (B, C)."""
    logit_BMC = query_BMD @ item_BCD.transpose(1, 2)
    return torch.logsumexp(logit_BMC + weight_BM.clamp(min=_FAINT).log()[..., None], 1)
