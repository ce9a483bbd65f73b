"""MMQ's mixture of quantisers (arXiv:2508.15281, WSDM 2026): items as a few parallel codes.

The paper's, by our notes of it: experts that see all modalities (shared) and experts of one modality
(specific), a code each; gates on the specific ones alone; the nearest codeword by the cosine; the terms
"reconstruction" of everything, "auxiliary" of each modality from its own experts alone, "orthogonal" of the
experts of a group; and stage 2, in which `soft + stop(hard - soft)` of the cosines is what indexes the tables
of whoever uses the codes, so that their gradient reaches experts and codewords.

Ours: a book of its own for each expert; linear experts and decoders; the term "codewords", which pulls each
codeword to what chose it (the notes show none, and without it codewords have no gradient in stage 1).

Shape suffixes: U items, M modalities, V width of a modality, S experts (shared ones first, then those of each
modality), K codes of an expert, D width of an expert.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag, normalize

RECONSTRUCTION, AUXILIARY, ORTHOGONAL, CODEWORDS = 12.0, 10.0, 0.005, 1.0
"""The paper's weights of the first three; the last is ours."""
_TEMPERATURE = 0.1


class Quantized(NamedTuple):
    """Items as codes."""

    latent_USD: Tensor
    cosine_USK: Tensor
    code_US: Tensor

    def soft(self) -> Tensor:
        """Shares of the codes (U, S, K)."""
        return torch.softmax(self.cosine_USK / _TEMPERATURE, 2)


class _LookedUp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table_SKX: Tensor, code_US: Tensor, soft_USK: Tensor) -> Tensor:
        ctx.save_for_backward(table_SKX, code_US)
        first_S = table_SKX.shape[1] * torch.arange(len(table_SKX), device=code_US.device)
        return embedding_bag(first_S + code_US, table_SKX.flatten(0, 1), mode="sum")

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, Tensor]:
        (gradient_UX,), (table_SKX, code_US) = gradients, ctx.saved_tensors
        to_table_SKX = torch.zeros_like(table_SKX)
        for to_table_KX, code_U in zip(to_table_SKX, code_US.T, strict=True):
            to_table_KX.index_add_(0, code_U, gradient_UX)
        to_soft_UJ = gradient_UX @ table_SKX.flatten(0, 1).T
        return to_table_SKX, None, to_soft_UJ.unflatten(1, table_SKX.shape[:2])


def looked_up(table_SKX: Tensor, code_US: Tensor, soft_USK: Tensor) -> Tensor:
    """What each item's codes have in a table, summed (U, X): stage 2's soft index. The chosen rows alone are
    read; the gradient is that of `soft + stop(hard - soft)` times the table."""
    said_UX: Tensor = _LookedUp.apply(table_SKX, code_US, soft_USK)
    return said_UX


class Quantizers(nn.Module):
    """The experts, their books, and the decoders that hold them to what they encode."""

    def __init__(
        self, modalities: int, width: int, shared: int, specific: int, codes: int, latent: int
    ) -> None:
        super().__init__()
        self.modalities, self.shared, self.specific = modalities, shared, specific
        whole = modalities * width
        self.shared_SVD = nn.Parameter(torch.randn(shared, whole, latent) / whole**0.5)
        self.own_MEVD = nn.Parameter(torch.randn(modalities, specific, width, latent) / width**0.5)
        self.gate_MVE = nn.Parameter(torch.zeros(modalities, width, specific))
        self.bias_ME = nn.Parameter(torch.zeros(modalities, specific))
        self.book_SKD = nn.Parameter(
            normalize(torch.randn(shared + modalities * specific, codes, latent), dim=2)
        )
        self.decode_DV = nn.Parameter(torch.randn(latent, whole) / latent**0.5)
        self.decode_MDV = nn.Parameter(torch.randn(modalities, latent, width) / latent**0.5)

    def forward(self, content_UMV: Tensor) -> Quantized:
        shared_USD = torch.einsum("uv,svd->usd", content_UMV.flatten(1), self.shared_SVD)
        own_UMED = torch.einsum("umv,mevd->umed", content_UMV, self.own_MEVD)
        latent_USD = torch.cat([shared_USD, own_UMED.flatten(1, 2)], 1)
        cosine_USK = torch.einsum(
            "usd,skd->usk", normalize(latent_USD, dim=2), normalize(self.book_SKD, dim=2)
        )
        return Quantized(latent_USD, cosine_USK, cosine_USK.argmax(2))

    def terms(self, content_UMV: Tensor, quantized: Quantized) -> dict[str, Tensor]:
        """What stage 1 makes small, weighted, as means over items."""
        chosen_USD = self._chosen(quantized)
        passed_USD = quantized.latent_USD + (chosen_USD - quantized.latent_USD).detach()
        gate_UME = torch.softmax(torch.einsum("umv,mve->ume", content_UMV, self.gate_MVE) + self.bias_ME, 2)
        own_UMED = passed_USD[:, self.shared :].reshape(len(content_UMV), self.modalities, self.specific, -1)
        own_UMD = (gate_UME[..., None] * own_UMED).sum(2)
        whole_UD = passed_USD[:, : self.shared].sum(1) + own_UMD.sum(1)
        said_UMV = (whole_UD @ self.decode_DV).reshape(content_UMV.shape)
        own_said_UMV = torch.einsum("umd,mdv->umv", own_UMD, self.decode_MDV)
        return {
            "reconstruction": RECONSTRUCTION * _squares(content_UMV - said_UMV),
            "auxiliary": AUXILIARY * _squares(content_UMV - own_said_UMV),
            "orthogonal": ORTHOGONAL * self.overlap(),
            "codewords": CODEWORDS * _squares(quantized.latent_USD.detach() - chosen_USD),
        }

    def overlap(self) -> Tensor:
        """How far the experts of each group are from being orthogonal, summed over groups."""
        groups = [self.shared_SVD.flatten(1), *self.own_MEVD.flatten(2)]
        grams = [
            unit @ unit.T - torch.eye(len(unit)).to(unit) for unit in (normalize(g, dim=1) for g in groups)
        ]
        return torch.stack([gram.square().sum() for gram in grams]).sum()

    def _chosen(self, quantized: Quantized) -> Tensor:
        """Codewords (U, S, D), as long as what chose them: the cosine says nothing of length."""
        expert_S = torch.arange(self.book_SKD.shape[0], device=self.book_SKD.device)
        unit_USD = normalize(self.book_SKD, dim=2)[expert_S, quantized.code_US]
        chosen_USD: Tensor = unit_USD * quantized.latent_USD.detach().norm(dim=2, keepdim=True)
        return chosen_USD


def _squares(difference: Tensor) -> Tensor:
    """Mean over items of the sum of squares."""
    return difference.square().flatten(1).sum(1).mean()
