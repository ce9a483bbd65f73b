"""MMQ: codes of what is told of items, and what they are worth for items that nobody has had."""

from pathlib import Path

import numpy as np
import pytest
import torch

import ebbtide
from learners.blocks.quantizers import Quantizers, looked_up
from learners.tables.content import WIDTH, Content, directions
from learners.tables.side_columns import Columns
from learners.training.tokenizing import codes, fit, rename, usage
from state.arrays import Floats
from state.keys import key_of
from state.side import Categories, SideTable

KINDS = 12


def described(items: int, seed: int = 0) -> Floats:
    """Two columns: one of KINDS things a pair of them have in common, and another of 5."""
    rng = np.random.default_rng(seed)
    kind, other = rng.integers(KINDS, size=items), rng.integers(5, size=items)
    one = directions(100 + kind) + directions(200 + kind // 2)
    return np.stack([one / np.linalg.norm(one, axis=1, keepdims=True), directions(300 + other)], 1)


def quantizers(codes: int = 16) -> Quantizers:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Quantizers(2, WIDTH, 2, 1, codes, 8)


def test_a_soft_index_is_the_code_and_its_gradient_reaches_experts_and_codewords() -> None:
    mixture, table_SKX = quantizers(), torch.randn(4, 16, 3, requires_grad=True)
    found = mixture(torch.from_numpy(described(20)))
    weights = (table_SKX, mixture.shared_SVD, mixture.own_MEVD, mixture.book_SKD)
    said_UX = looked_up(table_SKX, found.code_US, found.soft())
    chosen_UX = table_SKX[torch.arange(4), found.code_US].sum(1)
    torch.testing.assert_close(said_UX, chosen_UX)
    hard_USK = torch.nn.functional.one_hot(found.code_US, 16)
    by_hand_USK = found.soft() + (hard_USK - found.soft()).detach()
    by_hand_UX = torch.einsum("usk,skx->ux", by_hand_USK, table_SKX)
    gradients = [
        torch.autograd.grad(one_UX.square().sum(), weights, retain_graph=True)
        for one_UX in (said_UX, by_hand_UX)
    ]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)
    assert all((gradient.flatten(1).abs().amax(1) > 0).all() for gradient in gradients[0])


def test_orthonormal_experts_have_no_overlap() -> None:
    mixture = quantizers()
    assert mixture.overlap() > 0.001
    with torch.no_grad():
        flat = torch.linalg.qr(torch.randn(mixture.shared_SVD[0].numel(), 2))[0].T
        mixture.shared_SVD.copy_(flat.reshape(mixture.shared_SVD.shape))
    assert mixture.overlap() < 1e-6


def test_a_column_that_two_items_share_gives_them_the_same_code_of_its_own_expert() -> None:
    mixture, content_UMV = quantizers(), described(400)
    fit(mixture, torch.from_numpy(content_UMV), 0, 0)
    pair_UMV = content_UMV[[0, 0]].copy()
    pair_UMV[1, 1] = content_UMV[np.argmin(content_UMV[:, 1] @ content_UMV[0, 1]), 1]
    one, other = codes(mixture, torch.from_numpy(pair_UMV))
    assert one[2] == other[2]
    assert one[3] != other[3]


def test_a_fit_explains_what_is_told_and_leaves_no_code_dead_that_an_item_could_have() -> None:
    mixture, content_UMV = quantizers(8), torch.from_numpy(described(600))
    before = mixture.terms(content_UMV, mixture(content_UMV))
    use = fit(mixture, content_UMV, 0, 0)
    after = mixture.terms(content_UMV, mixture(content_UMV))
    for name in ("reconstruction", "auxiliary"):
        assert after[name] < 0.5 * before[name], name
    assert all(book.utilisation == 1.0 for book in use[:3])
    assert all(0.5 < book.entropy <= 1.0 for book in use)


def test_the_next_version_keeps_what_codes_mean() -> None:
    mixture, old, rng = quantizers(), torch.from_numpy(described(500)), np.random.default_rng(7)
    fit(mixture, old, 0, 0)
    before_US = codes(mixture, old)
    with torch.no_grad():
        for s in range(4):
            mixture.book_SKD[s] = mixture.book_SKD[s][torch.from_numpy(rng.permutation(16))]
    assert (codes(mixture, old) == before_US).mean() < 0.5
    rename(mixture, before_US, codes(mixture, old))
    assert np.array_equal(codes(mixture, old), before_US)
    fit(mixture, torch.from_numpy(described(900, seed=1)), 0, 1)
    assert (codes(mixture, old) == before_US).mean() > 0.6  # 1 / 16 by chance


def test_the_same_fit_gives_the_same_books() -> None:
    content_UMV, made = torch.from_numpy(described(300)), [quantizers(), quantizers()]
    use = [fit(mixture, content_UMV, 3, 0) for mixture in made]
    assert torch.equal(made[0].book_SKD, made[1].book_SKD)
    assert use[0] == use[1]


def test_use_of_a_book_is_what_it_says() -> None:
    (even, one) = usage(np.array([[0, 2], [1, 2], [2, 2], [3, 2]]), 4)
    assert even.utilisation == 1.0
    assert even.entropy == pytest.approx(1.0)
    assert (one.utilisation, one.entropy) == (0.25, 0.0)


def table(size: int) -> SideTable:
    """A category each, and a text of a word or two."""
    kind = np.array([key_of(f"kind {n % 4}") for n in range(size)])
    names = ["" if n % 5 == 4 else f"Frozen {'pizza' if n % 2 else 'ice'}" for n in range(size)]
    return SideTable(
        np.arange(size),
        np.zeros(size, np.int64),
        categories={"kind": Categories(np.arange(size + 1), kind)},
        texts={"name": names},
    )


def test_content_is_told_by_what_columns_have_in_common_and_grows_with_the_table() -> None:
    content = Content(Columns(table(40)))
    assert content.modalities == ("kind", "name")
    told_NMV = content.of(np.array([0, 1, 2, 4, -1]))
    assert told_NMV[0, 1] @ told_NMV[2, 1] == pytest.approx(1.0)
    assert 0.2 < told_NMV[0, 1] @ told_NMV[1, 1] < 0.8
    assert not told_NMV[3, 1].any()
    assert not told_NMV[4].any()
    assert np.linalg.norm(told_NMV[:4, 0], axis=1) == pytest.approx(np.ones(4))
    assert np.array_equal(Content(Columns(table(40))).of(np.arange(9)), content.of(np.arange(9)))


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Users of 6 tastes; most items are had by hardly anybody, all of a taste share a category."""
    rng, folder = np.random.default_rng(1), tmp_path_factory.mktemp("coded")
    rows = []
    for n in range(3000):
        user = int(rng.integers(60))
        item = 6 * int(rng.integers(400)) + user % 6
        rows.append(f"u{user},i{item},{1_700_000_000 + 60 * n}")
    (folder / "log.csv").write_text("\n".join(["user,item,time", *rows]) + "\n")
    items = [f"i{item},taste {item % 6},maker {item % 13}" for item in range(2400)]
    (folder / "items.csv").write_text("\n".join(["item,taste,maker", *items]) + "\n")
    return folder


def test_codes_find_what_hardly_anybody_has_had(log: Path, tmp_path: Path) -> None:
    report = ebbtide.replay(
        log / "log.csv",
        tmp_path / "out",
        items=log / "items.csv",
        learner="mmq",
        ablate=True,
        floors=False,
        rank_share=1.0,
        learners={"mmq": {"codes": 16, "few": 1, "draws": 64}},
    )
    assert report.ablation is not None
    (plain,) = [one for one in report.ablation.variants if one.name != "no actions"]
    (lost,) = [one for one in plain.differences if one.metric == "recall@50"]
    assert lost.high is not None
    assert lost.high < 0.0
    assert report.insight is not None
    assert report.insight.codes is not None
    assert report.insight.codes.version >= 2
    assert report.insight.codes.kept is not None
    assert len(report.insight.codes.books) == 2 + 2


def test_events_are_learned_one_at_a_time_too(log: Path, tmp_path: Path) -> None:
    """Where the catalogue is large, and hardly any event repeats one: what a window has is no candidate."""
    settings = {"mmq": {"few": 1, "draws": 16, "minibatch": 1, "coded": False}}
    report = ebbtide.replay(
        log / "log.csv", tmp_path, learner="mmq", floors=False, drift=False, limit=60, learners=settings
    )
    assert report.events.used == 60


def test_resumed_it_ends_with_the_same_books(log: Path, tmp_path: Path) -> None:
    def run(out: str, **more: object) -> str:
        settings = {"mmq": {"codes": 16, "few": 1, "draws": 16}}
        return ebbtide.replay(
            log / "log.csv",
            tmp_path / out,
            items=log / "items.csv",
            learner="mmq",
            floors=False,
            limit=1500,
            learners=settings,
            rank_share=0.05,
            **more,  # type: ignore[arg-type]
        ).state_digest

    saved = tmp_path / "saved"
    whole = run("a", checkpoint=saved, every=700)
    assert run("a", checkpoint=saved, resume=True) == whole
    assert run("b") == whole
