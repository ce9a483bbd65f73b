"""Relevance and Novelty as language models, behind the contracts that the compact networks have.

The user becomes a text: what the user's group and the user like, in names of clusters. Novelty scores every
name that is open as what comes next, and the scores, normalised over those names, are N(c | x): exactly, with
its propensity. Relevance asks of each name whether the user would like it, and p(yes) against p(no) is
P(accept).

That both are language models, the one tuned by what the other verifies, is CoEA's (arXiv:2508.00450);
prompts, losses, LoRA and the distribution over names are ours, as its text is not known to us. Both may share
one model: each keeps weights of the adapter of its own, and puts them in before it is asked.

Shape suffixes: B rows, C clusters, P pairs, S shown of a row.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from learners.coevolution.contracts import Lessons, Tuning
from learners.coevolution.inputs import Feedback, Inputs
from learners.coevolution.language_model import LanguageModel
from state.arrays import Bools, Doubles
from state.tree import Tree

LANGUAGE = Tuning(by="dpo", epochs=1, lr=1e-3, beta=0.3, anchor=0.05, decay=0.0, batch=2)
"""How a language model learns: fewer rows a step, a lower rate."""
_LIKED = 5
"""Clusters of the group that are named, as far as it likes them more than most, and of the user."""
_NEXT, _ASKED = "What they like next:", "Would they like {name}? Answer yes or no:"
_YES, _NO = " yes", " no"


def profiles(inputs: Inputs, names: Sequence[str]) -> list[str]:
    """A text a row: what the group likes best, and what the user has liked."""
    texts = []
    for b in range(inputs.size):
        rate_C = inputs.persona_BC[b]
        best = np.argsort(-rate_C, kind="stable")[:_LIKED]
        group = [names[c] for c in best if rate_C[c] > rate_C.mean()] or ["all alike"]
        taken = np.argsort(-inputs.accepts_BC[b], kind="stable")[:_LIKED]
        own = [names[c] for c in taken if inputs.accepts_BC[b, c] > 0.0]
        taste = f"Likes: {', '.join(own)}." if own else "Nothing is known that they like."
        texts.append(f"People like them like: {', '.join(group)}. {taste} ")
    return texts


class LanguageNovelty:
    """Novelty over the names of clusters."""

    def __init__(self, model: LanguageModel, names: Sequence[str]) -> None:
        self.model, self.names = model, tuple(names)
        self.adapter = model.tree()

    def log_p(self, inputs: Inputs, open_BC: Bools) -> Doubles:
        self.model.load(self.adapter)
        log_BC = np.full(open_BC.shape, -np.inf)
        for b, text in enumerate(profiles(inputs, self.names)):
            at = np.flatnonzero(open_BC[b])
            score_C = self.model.scores(text + _NEXT, [_said(self.names[c]) for c in at])
            log_BC[b, at] = torch.log_softmax(score_C.double(), 0).numpy()
        return log_BC

    def tuned(self, lessons: Lessons, tuning: Tuning, seed: int) -> "LanguageNovelty":
        """By DPO against this version, or by what was accepted alone.

        The anchor is the likelihood of the accepted name's text, not of the name among those that are open:
        a step costs two texts, not as many as there are clusters.
        """
        prompts = [text + _NEXT for text in profiles(lessons.inputs, self.names)]
        better, worse = ([_said(self.names[c]) for c in c_P] for c_P in (lessons.better_P, lessons.worse_P))
        self.model.load(self.adapter)
        with torch.no_grad():
            old_P = torch.tensor(
                [
                    float(self.model.learnable([p], [b]) - self.model.learnable([p], [w]))
                    for p, b, w in zip(prompts, better, worse, strict=True)
                ]
            )
        rng = np.random.default_rng(seed)
        optimiser = torch.optim.AdamW(self.model.weights, tuning.lr, weight_decay=tuning.decay)
        for _ in range(tuning.epochs):
            order_P = rng.permutation(lessons.size)
            for start in range(0, len(order_P), tuning.batch):
                at = order_P[start : start + tuning.batch]
                texts = [better[p] for p in at] + [worse[p] for p in at]
                log_2P = self.model.learnable([prompts[p] for p in (*at, *at)], texts)
                good_P, bad_P = log_2P.chunk(2)
                loss_P = -torch.from_numpy(lessons.anchor_P[at]) * tuning.anchor * good_P
                if tuning.by == "dpo":
                    gain_P = good_P - bad_P - old_P[torch.from_numpy(at)]
                    loss_P = loss_P - torch.from_numpy(lessons.prefer_P[at]) * logsigmoid(
                        tuning.beta * gain_P
                    )
                optimiser.zero_grad()
                loss_P.mean().backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(self.model.weights, tuning.clip)
                optimiser.step()
        return LanguageNovelty(self.model, self.names)

    def tree(self) -> Tree:
        return self.adapter

    def load(self, tree: Tree) -> None:
        self.adapter = {name: np.array(weight) for name, weight in tree.items()}


class LanguageRelevance:
    """Relevance by yes and no."""

    LR = 1e-3

    def __init__(self, model: LanguageModel, names: Sequence[str]) -> None:
        self.model, self.names = model, tuple(names)
        self.adapter = model.tree()

    def accepts(self, inputs: Inputs) -> Doubles:
        self.model.load(self.adapter)
        p_BC = np.zeros((inputs.size, len(self.names)))
        asked = [_ASKED.format(name=name) for name in self.names]
        for b, text in enumerate(profiles(inputs, self.names)):
            yes_C = self.model.scores(text, [question + _YES for question in asked])
            no_C = self.model.scores(text, [question + _NO for question in asked])
            p_BC[b] = torch.sigmoid((yes_C - no_C).double()).numpy()
        return p_BC

    def learn(self, feedback: Feedback) -> None:
        """One pass over real feedback, a row a step."""
        self.model.load(self.adapter)
        optimiser = torch.optim.AdamW(self.model.weights, self.LR, weight_decay=0.0)
        for b, text in enumerate(profiles(feedback.inputs, self.names)):
            asked = [_ASKED.format(name=self.names[c]) for c in feedback.cluster_BS[b]]
            logit_S = self.model.learnable([text] * len(asked), [q + _YES for q in asked])
            logit_S = logit_S - self.model.learnable([text] * len(asked), [q + _NO for q in asked])
            loss = binary_cross_entropy_with_logits(
                logit_S,
                torch.from_numpy(feedback.accepted_BS[b].astype(np.float32)),
                torch.from_numpy(feedback.weight_BS[b]),
            )
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        self.adapter = self.model.tree()

    def tree(self) -> Tree:
        return self.adapter

    def load(self, tree: Tree) -> None:
        self.adapter = {name: np.array(weight) for name, weight in tree.items()}


def _said(name: str) -> str:
    """A name with an end: one that another begins with is no likelier for being shorter."""
    return f" {name}\n"
