"""Stage 1 of a tokenizer on the slow clock: its books are fitted anew to the items that are known by then.

Every fit is a version: it begins with the experts as they are, revives codes that no item has, and ends with
the codes of every book in the places of the old ones that they share most items with, so that whoever has
learned what a code means need not learn it again.

Shape suffixes: U items, S experts, K codes, D width; others as in `learners.blocks.quantizers`.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from learners.blocks.quantizers import Quantizers
from learners.insight import BookUse
from state.keys import Int64s

_STEPS, _ITEMS, _LR = 200, 512, 0.01
_REVIVALS = 4
"""How often codes without an item are revived in a fit, spread over its first half."""


def fit(quantizers: Quantizers, content_UMV: Tensor, seed: int, version: int) -> list[BookUse]:
    """One version: moves the parameters in place. The same items, seed and version give the same books."""
    before_US = codes(quantizers, content_UMV) if version else None
    rng = np.random.default_rng([seed, version])
    if not version:
        _spread(quantizers, content_UMV, rng)
    optimiser = torch.optim.AdamW(quantizers.parameters(), _LR, weight_decay=0.0)
    for step in range(_STEPS):
        chosen = torch.from_numpy(rng.integers(len(content_UMV), size=_ITEMS)).to(content_UMV.device)
        part_UMV = content_UMV[chosen]
        optimiser.zero_grad()
        loss = torch.stack(list(quantizers.terms(part_UMV, quantizers(part_UMV)).values())).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if step % (_STEPS // (2 * _REVIVALS)) == 0 and step < _STEPS // 2:
            _revive(quantizers, content_UMV, rng)
    if before_US is not None:
        rename(quantizers, before_US, codes(quantizers, content_UMV))
    return usage(codes(quantizers, content_UMV), quantizers.book_SKD.shape[1])


def codes(quantizers: Quantizers, content_UMV: Tensor) -> Int64s:
    """Codes of items (U, S)."""
    with torch.no_grad():
        code_US: Int64s = quantizers(content_UMV).code_US.cpu().numpy()
    return code_US


def usage(code_US: Int64s, size: int) -> list[BookUse]:
    """Of each book."""
    books = []
    for code_U in code_US.T:
        share_K = np.bincount(code_U, minlength=size) / len(code_U)
        used_K = share_K[share_K > 0]
        entropy = float(-(used_K * np.log(used_K)).sum() / np.log(size))
        books.append(BookUse(utilisation=len(used_K) / size, entropy=max(entropy, 0.0)))
    return books


def rename(quantizers: Quantizers, before_US: Int64s, now_US: Int64s) -> None:
    """Put the codes of every book in the places of the old ones that they share most items with."""
    book_SKD, size = quantizers.book_SKD, quantizers.book_SKD.shape[1]
    for s in range(len(book_SKD)):
        shared_KK = np.zeros((size, size))
        np.add.at(shared_KK, (before_US[:, s], now_US[:, s]), 1.0)
        order_K = np.empty(size, np.int64)
        for _ in range(size):
            before, now = np.unravel_index(int(shared_KK.argmax()), shared_KK.shape)
            order_K[before] = now
            shared_KK[before], shared_KK[:, now] = -1.0, -1.0
        with torch.no_grad():
            book_SKD[s] = book_SKD[s][torch.from_numpy(order_K).to(book_SKD.device)]


def _spread(quantizers: Quantizers, content_UMV: Tensor, rng: np.random.Generator) -> None:
    """Codewords begin at what the experts make of items drawn at random."""
    _, size, _ = quantizers.book_SKD.shape
    drawn = torch.from_numpy(rng.integers(len(content_UMV), size=size)).to(content_UMV.device)
    with torch.no_grad():
        latent_KSD = quantizers(content_UMV[drawn]).latent_USD
        noise = torch.from_numpy(rng.normal(0, 0.01, latent_KSD.shape).astype(np.float32)).to(latent_KSD)
        quantizers.book_SKD.copy_(normalize(latent_KSD + noise, dim=2).transpose(0, 1))


def _revive(quantizers: Quantizers, content_UMV: Tensor, rng: np.random.Generator) -> None:
    """Codes that no item has move to the items that are explained worst."""
    book_SKD = quantizers.book_SKD
    with torch.no_grad():
        quantized = quantizers(content_UMV)
        units_USD, cosine_US = normalize(quantized.latent_USD, dim=2), quantized.cosine_USK.amax(2)
        for s in range(len(book_SKD)):
            used_K = torch.bincount(quantized.code_US[:, s], minlength=book_SKD.shape[1])
            dead_K = torch.nonzero(used_K == 0)[:, 0]
            worst_U = torch.argsort(cosine_US[:, s], stable=True)[: 4 * len(dead_K)].cpu().numpy()
            if len(dead_K):
                taken = rng.choice(worst_U, len(dead_K), replace=len(worst_U) < len(dead_K))
                book_SKD[s, dead_K] = units_USD[torch.from_numpy(taken).to(units_USD.device), s]
