"""RTFormer-Slim: its golden cost, and its parts against formulas written out."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from fpan_training.engine.optimizer import parameter_groups
from fpan_training.engine.settings import LoopConfig
from fpan_training.nets.dappm import Dappm
from fpan_training.nets.rtformer import RTFormer, RTFormerConfig
from fpan_training.nets.rtformer_blocks import CrossAttention, DropPath, GpuFriendlyAttention
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

_GOLDEN_GMAC = 4.64
"""Of one picture of 512 x 512: convolutions and the four products of cross attention."""
_TINY = RTFormerConfig(width=8, head=8, context=16, cross_size=2)
_norm = partial(nn.BatchNorm2d, momentum=0.1)


def _scatter_norms(module: nn.Module) -> None:
    """Gives the batch norms statistics of their own, so that leaving one out shows."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean, -0.5, 0.5)
            nn.init.uniform_(part.running_var, 0.5, 2)
            nn.init.uniform_(part.bias, -0.5, 0.5)


def test_the_cost_at_512_pixels_is_the_golden_one() -> None:
    with torch.device("meta"):
        network = RTFormer(20, RTFormerConfig()).eval()
        picture = torch.empty(1, 3, 512, 512)
    with FlopCounterMode(display=False) as counter:
        network(picture)
    assert counter.get_total_flops() / 2e9 == pytest.approx(_GOLDEN_GMAC, abs=0.005)


def test_a_batch_of_one_is_refused_in_training_and_taken_in_evaluation() -> None:
    network = RTFormer(5, _TINY)
    with pytest.raises(ValueError, match="two pictures or more"):
        network(torch.randn(1, 3, 64, 64))
    assert network.eval()(torch.randn(1, 3, 64, 64)).logits.shape == (1, 5, 8, 8)


def test_the_size_error_names_the_cross_size() -> None:
    with pytest.raises(ValueError, match=r"256 pixels \(32 times the cross size of 8\), not 256 x 288"):
        RTFormer(5, RTFormerConfig(width=8))(torch.zeros(2, 3, 256, 288))


def test_without_the_auxiliary_head_the_rest_of_the_weights_is_the_same() -> None:
    whole, deployed = RTFormer(5, _TINY), RTFormer(5, RTFormerConfig(8, 8, 16, cross_size=2, auxiliary=False))
    left_out = set(whole.state_dict()) - set(deployed.state_dict())
    assert left_out
    assert all(name.startswith("auxiliary_head.") for name in left_out)
    assert deployed(torch.randn(2, 3, 64, 64)).auxiliary == ()


def test_a_width_that_the_groups_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="groups"):
        RTFormerConfig(width=20)


def test_running_statistics_follow_the_newest_batch_by_the_configured_share() -> None:
    network = RTFormer(5, RTFormerConfig(width=8, cross_size=2, norm_momentum=0.25))
    assert {m.momentum for m in network.modules() if isinstance(m, nn.BatchNorm2d)} == {0.25}
    x = torch.randn(2, 3, 64, 64)
    network(x)
    batch_mean = network.stem[0](x).mean((0, 2, 3))
    torch.testing.assert_close(network.stem[1].running_mean, 0.25 * batch_mean)


def test_nearest_interpolation_can_be_chosen() -> None:
    x = torch.randn(2, 3, 64, 64)
    outputs = []
    for interpolation in ("bilinear", "nearest"):
        torch.manual_seed(0)
        network = RTFormer(5, RTFormerConfig(width=8, cross_size=2, interpolation=interpolation)).eval()
        outputs.append(network(x).logits)
    assert not torch.allclose(*outputs)


def test_heads_and_context_can_learn_ten_times_faster() -> None:
    network = RTFormer(5, _TINY)
    groups = parameter_groups(network, LoopConfig(lr=1e-4, head_lr=10))
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    for name, parameter in network.named_parameters():
        fast = name.startswith(("context.", "head.", "auxiliary_head."))
        assert rates[id(parameter)] == pytest.approx(1e-3 if fast else 1e-4), name


def test_cross_attention_is_softmax_over_the_grid_of_keys_scaled_by_their_number() -> None:
    torch.manual_seed(0)
    attention = CrossAttention(_norm, 6, 10, 2).eval()
    _scatter_norms(attention)
    high, low = torch.randn(3, 6, 8, 16), torch.randn(3, 10, 4, 8)
    found = attention(high, low)
    for b in range(3):
        pooled = F.max_pool2d(attention.low_norm(low[b : b + 1]), (2, 4))
        grid = attention.keys_values(pooled)[0].reshape(12, 4)
        queries = attention.norm(high[b : b + 1])[0].reshape(6, 128)
        weights = (grid[:6].T @ queries / 4**0.5).softmax(0)
        torch.testing.assert_close(found[b], (grid[6:] @ weights).reshape(6, 8, 16), rtol=1e-4, atol=1e-5)


def test_low_attention_normalises_over_space_and_then_over_each_group() -> None:
    torch.manual_seed(0)
    attention = GpuFriendlyAttention(_norm, 6, 8, 2, 1).eval()
    _scatter_norms(attention)
    x = torch.randn(2, 6, 4, 4)
    weights = attention.keys(attention.norm(x)).flatten(2).softmax(2)
    for group in (slice(0, 4), slice(4, 8)):
        weights[:, group] = weights[:, group] / weights[:, group].sum(1, keepdim=True)
    expected = attention.values(weights.reshape(2, 8, 4, 4))
    torch.testing.assert_close(attention(x), expected, rtol=1e-3, atol=1e-4)


def test_low_attention_starts_from_small_keys_and_values() -> None:
    torch.manual_seed(0)
    low = RTFormer(5, RTFormerConfig()).layer5.low_attention
    for weight in (low.keys.weight, low.values.weight):
        assert weight.std().item() == pytest.approx(1e-3, rel=0.05)


def test_softmaxes_are_computed_in_float32_when_the_network_is_float16() -> None:
    torch.manual_seed(0)
    attention = GpuFriendlyAttention(_norm, 4, 4, 1, 1).eval()
    nn.init.eye_(attention.keys.weight[:, :, 0, 0])
    nn.init.eye_(attention.values.weight[:, :, 0, 0])
    x = torch.zeros(1, 4, 8, 8)
    x[..., 0, 0] = 17  # elsewhere the softmax is exp(-17), less than float16's smallest number
    exact = attention(x)
    # exp(-17) / (4 exp(-17) + 1e-6), four channels to the group
    assert exact[0, 0, 4, 4].item() == pytest.approx(0.0355, rel=0.02)
    half = attention.half()(x.half())
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), exact, rtol=0.05, atol=1e-4)


def test_the_pyramid_pools_grow_to_the_whole_picture() -> None:
    torch.manual_seed(0)
    context = Dappm(_norm, lambda x, size: F.interpolate(x, size=size, mode="bilinear"), 8, 4, 6).eval()
    x = torch.randn(1, 8, 8, 8)
    assert context(x).shape == (1, 6, 8, 8)
    # One changed corner is felt in the opposite one, through the global branch.
    moved = x.clone()
    moved[..., 0, 0] += 5
    assert (context(moved) - context(x))[..., 7, 7].abs().max() > 1e-4


def test_drop_path_drops_whole_samples_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    drop = DropPath(0.25)
    y = drop(torch.ones(4000, 2, 1, 3))
    per_sample = y.flatten(1)
    assert (per_sample == per_sample[:, :1]).all()
    assert per_sample.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert y.mean().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(drop.eval()(torch.ones(4, 2, 1, 3)), torch.ones(4, 2, 1, 3))


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_an_impossible_drop_path_rate_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="drop-path rate"):
        DropPath(rate)


def test_pooling_has_fixed_windows_when_the_batch_is_dynamic() -> None:
    network = RTFormer(5, _TINY).eval()
    shapes = {"images_bchw": {0: torch.export.Dim("batch", min=1, max=64)}}
    program = torch.export.export(network, (torch.zeros(2, 3, 128, 128),), dynamic_shapes=shapes)
    calls = [(str(node.target), node.args) for node in program.graph.nodes if node.op == "call_function"]
    windows = [args[1] for target, args in calls if "max_pool" in target]
    assert windows == [[2, 2], [2, 2]]
    assert not [target for target, _ in calls if "adaptive" in target]
