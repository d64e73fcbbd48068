"""The packed network, its attention and its head against the plain ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sparktts.checkpoint.config import LanguageModelConfig
from sparktts.engine.torch.qwen2 import Qwen2
from sparktts.train.lm.attention import Heads, _attend_fused, attend
from sparktts.train.lm.head import Family, LegalHead
from sparktts.train.lm.network import TrainingModel
from sparktts.train.lm.packing import Packed, pack
from sparktts.train.lm.start import initialize

VOCABULARY = 120
SETS = (Family("speech", torch.tensor([3, *range(40, 90)])), Family("voice", torch.arange(10, 30)))
LENGTHS = (5, 70, 64, 1, 30, 200, 600)


def network(checkpointing: bool = False, kv_heads: int = 2) -> TrainingModel:
    config = LanguageModelConfig(VOCABULARY, 32, 48, 2, 4, kv_heads, 8, 1e-6, 1e4, 1024, True, None)
    model = Qwen2(config)
    initialize(model, torch.Generator().manual_seed(3))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return TrainingModel(model, LegalHead(SETS, VOCABULARY), checkpointing)


def documents(lengths: tuple[int, ...] = LENGTHS) -> list[tuple[np.ndarray, np.ndarray]]:
    random = np.random.default_rng(5)
    made = []
    for length in lengths:
        ids = random.integers(0, VOCABULARY, length + 1)
        legal = np.isin(ids[1:], torch.cat([family.ids for family in SETS]).numpy())
        made.append((ids[:-1], np.where(legal, ids[1:], -1)))
    return made


def gradients(model: TrainingModel, batch: Packed) -> dict[str, torch.Tensor]:
    model.zero_grad()
    model(batch)[0].backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_packed_documents_give_what_each_gives_alone(kv_heads: int) -> None:
    model = network(kv_heads=kv_heads)
    batch = pack(documents())
    assert len(batch.groups) > 1
    hidden = model.hidden(batch)
    at = 0
    for ids, _ in documents():
        alone = model.model(torch.from_numpy(ids)[None])[0]
        assert torch.allclose(hidden[at : at + len(ids)], alone, atol=2e-5)
        at += len(ids)


def test_gradients_of_packed_documents_are_the_sum_of_those_alone() -> None:
    model = network()
    packed = gradients(model, pack(documents()))
    alone = [gradients(model, pack([document])) for document in documents()]
    for name, gradient in packed.items():
        expected = sum(other[name] for other in alone)
        assert torch.allclose(gradient, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max())), name


def test_gradients_equal_those_of_plain_pytorch() -> None:
    """Norm, rotation, attention, SwiGLU and loss are written by hand; here is the whole without any of it."""
    model = network()
    ids, targets = documents((150,))[0]
    found = gradients(model, pack([(ids, targets)]))
    model.zero_grad()
    hidden = model.model(torch.from_numpy(ids)[None])[0]
    scores = hidden @ model.model.embed_tokens.weight.T
    loss = sum(
        F.cross_entropy(scores[place, family.ids], (family.ids == target).nonzero()[0, 0])
        for place, target in enumerate(targets.tolist())
        for family in SETS
        if target in family.ids
    )
    loss.backward()
    assert model(pack([(ids, targets)]))[0].item() == pytest.approx(loss.item(), rel=1e-5)
    for name, parameter in model.named_parameters():
        scale = float(parameter.grad.abs().max())
        assert torch.allclose(found[name], parameter.grad, atol=1e-4 * scale), name


def test_the_legal_loss_is_the_full_one_restricted_to_legal_ids() -> None:
    """With everything but a set at minus infinity, the full softmax is the set's own."""
    model = network()
    ids, targets = documents((300,))[0]
    total, parts = model(pack([(ids, targets)]))
    scores = model.hidden(pack([(ids, targets)])) @ model.model.embed_tokens.weight.T
    for family in SETS:
        where = np.flatnonzero(np.isin(targets, family.ids.numpy()))
        mask = torch.full((VOCABULARY,), float("-inf"))
        mask[family.ids] = 0.0
        expected = F.cross_entropy(scores[where] + mask, torch.from_numpy(targets[where]), reduction="sum")
        value, count = parts[family.name]
        assert count == len(where)
        assert float(value) == pytest.approx(expected.item(), rel=1e-5)
    assert total.item() == pytest.approx(sum(float(value) for value, _ in parts.values()), rel=1e-6)


def test_targets_that_are_never_chosen_have_no_loss() -> None:
    model = network()
    ids = np.arange(20)
    assert model(pack([(ids, np.full(20, 100))]))[0].item() == 0.0


def test_checkpointing_changes_no_gradient() -> None:
    plain, saving = gradients(network(), pack(documents())), gradients(network(checkpointing=True), pack(documents()))
    assert all(torch.equal(plain[name], saving[name]) for name in plain)


def test_bf16_stays_close_to_fp32() -> None:
    model, batch = network(), pack(documents())
    exact, gradient = model(batch)[0].item(), gradients(model, batch)
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(batch)[0]
    model.zero_grad()
    loss.backward()
    assert loss.item() == pytest.approx(exact, rel=0.01)
    for name, parameter in model.named_parameters():
        assert parameter.grad.dtype == torch.float32
        assert float((parameter.grad - gradient[name]).norm() / gradient[name].norm()) < 0.06, name


def test_the_two_attentions_agree() -> None:
    """The one for GPUs, PyTorch's own, and the one for CPUs."""
    heads = Heads(4, 2, 8)
    batch = pack(documents())
    angles = torch.outer(torch.arange(640.0), torch.tensor([1.0, 0.3, 0.1, 0.01]))
    tables = (angles.cos(), angles.sin())
    qkv = torch.randn(batch.tokens, 64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    weight = torch.randn(batch.tokens, 32, generator=torch.Generator().manual_seed(1))
    results = []
    for function in (attend, _attend_fused):
        out = function(qkv, tables, batch.groups, batch.places, heads)
        (gradient,) = torch.autograd.grad((out * weight).sum(), qkv)
        results.append((out, gradient))
    assert torch.allclose(results[0][0], results[1][0], atol=1e-5)
    assert torch.allclose(results[0][1], results[1][1], atol=1e-4)


def test_groups_hold_little_padding() -> None:
    random = np.random.default_rng(0)
    lengths = sorted(int(n) for n in random.integers(200, 400, 20))
    batch = pack([(np.zeros(n), np.zeros(n)) for n in lengths])
    padded = sum(group.numel() for group in batch.groups)
    assert padded < 1.25 * batch.tokens
    stream = torch.cat([group.flatten() for group in batch.groups])[batch.places]
    assert torch.equal(stream, torch.arange(batch.tokens))
