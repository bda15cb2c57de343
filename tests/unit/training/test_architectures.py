"""One battery that every SEGM architecture passes. They are built small here; their full sizes are counted below."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import pytest
import torch
from fpan.tensorrt.supported import findings
from fpan.tensorrt.typed import typed
from fpan_training.engine.optimizer import parameter_groups
from fpan_training.engine.settings import LoopConfig
from fpan_training.modules.segm import ARCHITECTURES, SegmConfig, SegmNetwork, build
from fpan_training.modules.segm.loss import LossConfig, segm_loss
from fpan_training.nets.bisenet import BiSeNetConfig
from fpan_training.nets.efficientnet_lite import DepthwiseConv2d, EfficientNetLite, Variant
from fpan_training.nets.lite_fpn import LiteFpn, LiteFpnConfig
from fpan_training.nets.rtformer import RTFormerConfig
from fpan_training.nets.unet import UNetConfig
from fpan_training.release.export import export_segm, label_agreement
from torch import Tensor, nn

GOLDEN = Path(__file__).parent / "golden"
CLASSES = 7
_CONFIG = SegmConfig(
    classes=CLASSES,
    input_size=64,
    lite_fpn=LiteFpnConfig(widths=(8, 8, 16, 16, 16), pretrained=False, dropout=0),
    rtformer=RTFormerConfig(width=8, head=8, context=16, cross_size=2, drop_path=0),
    bisenet=BiSeNetConfig(stem=8, width=16, head=8, auxiliary_head=8),
    unet=UNetConfig(width=8),
)
"""Small, and without anything random, so that two passes agree."""
_AGREEMENT = 0.999
"""Least share of pixels with the same label; random weights leave some pixels undecided."""


@pytest.fixture(params=sorted(ARCHITECTURES), scope="module")
def architecture(request: pytest.FixtureRequest) -> str:
    return cast(str, request.param)


@pytest.fixture(scope="module")
def config(architecture: str) -> SegmConfig:
    return replace(_CONFIG, architecture=architecture)


@pytest.fixture
def network(config: SegmConfig) -> nn.Module:
    torch.manual_seed(0)
    return build(config)


@pytest.fixture(scope="module")
def exported(config: SegmConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    """A network and its ONNX file."""
    torch.manual_seed(0)
    network = build(config)
    _settle(network)
    path = tmp_path_factory.mktemp(config.architecture) / "model.onnx"
    export_segm(network, config.input_size, path)
    return network, path


def _pictures(batch: int, height: int = 64, width: int = 64) -> Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(batch))


def _logits(network: nn.Module, x: Tensor) -> Tensor:
    with torch.inference_mode():
        return cast(SegmNetwork, network)(x).logits


@pytest.mark.parametrize("size", [(64, 64), (64, 128)])
def test_logits_have_the_stride_that_the_network_names(network: nn.Module, size: tuple[int, int]) -> None:
    segm = cast(SegmNetwork, network)
    logits = _logits(network, _pictures(2, *size))
    assert logits.shape == (2, CLASSES, size[0] // segm.stride, size[1] // segm.stride)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


def test_auxiliary_logits_are_given_in_training_mode_only(network: nn.Module) -> None:
    segm = cast(SegmNetwork, network)
    assert all(logits.shape[:2] == (2, CLASSES) for logits in segm(_pictures(2)).auxiliary)
    network.eval()
    assert segm(_pictures(2)).auxiliary == ()


def test_the_gradient_reaches_every_parameter(network: nn.Module) -> None:
    labels = torch.randint(0, CLASSES, (2, 64, 64), dtype=torch.uint8)
    segm_loss(cast(SegmNetwork, network)(_pictures(2)), labels, LossConfig())["loss"].backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        # A bias before a batch norm has no effect, so its gradient may be zero; no weight's may.
        assert parameter.ndim == 1 or parameter.grad.any(), name


def test_a_few_steps_lower_the_loss_on_one_batch(network: nn.Module) -> None:
    labels = torch.zeros(2, 64, 64, dtype=torch.uint8)
    labels[:, 16:48, 16:48] = 3
    x = _pictures(2) + labels[:, None]
    optimizer = torch.optim.AdamW(parameter_groups(network, LoopConfig(lr=1e-2, pretrained_lr=1)))
    losses = []
    for _ in range(6):
        loss = segm_loss(cast(SegmNetwork, network)(x), labels, LossConfig())["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.75 * losses[0], losses


@pytest.mark.parametrize("halves", [(3, 4), (4, 5), (1, 1)])
def test_a_size_that_does_not_divide_is_refused_with_the_multiple(network: nn.Module, halves: tuple[int, int]) -> None:
    multiple = cast(SegmNetwork, network).multiple
    size = (halves[0] * multiple // 2, halves[1] * multiple // 2)
    with pytest.raises(ValueError, match=rf"multiples of {multiple} pixels.*{size[0]} x {size[1]}"):
        cast(SegmNetwork, network)(_pictures(2, *size))


def test_a_config_whose_input_size_does_not_divide_is_refused(config: SegmConfig) -> None:
    with pytest.raises(ValueError, match="multiples of"):
        build(replace(config, input_size=100))


def test_an_unknown_architecture_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"segnet.*lite_fpn, rtformer_slim"):
        build(SegmConfig(architecture="segnet"))


def test_saved_weights_give_the_same_logits(network: nn.Module, config: SegmConfig, tmp_path: Path) -> None:
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    torch.manual_seed(1)
    other = build(config).eval()
    x = _pictures(1)
    assert not torch.equal(_logits(other, x), _logits(network.eval(), x))
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert torch.equal(_logits(other, x), _logits(network, x))


def test_pictures_of_a_batch_do_not_see_each_other(network: nn.Module) -> None:
    network.eval()
    x = _pictures(3)
    singles = torch.cat([_logits(network, picture[None]) for picture in x])
    torch.testing.assert_close(_logits(network, x), singles, rtol=1e-4, atol=1e-4)


def test_channels_last_changes_nothing(network: nn.Module) -> None:
    network.eval()
    x = _pictures(2)
    last = _logits(network, x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(last, _logits(network, x), rtol=1e-4, atol=1e-4)


def test_bfloat16_stays_close_to_float32(network: nn.Module) -> None:
    network.eval()
    exact = _logits(network, _pictures(2))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = _logits(network, _pictures(2)).float()
    assert (rounded - exact).abs().mean() < 0.05 * exact.abs().mean()


@pytest.mark.parametrize("ask", ["pretrained_parameters", "head_parameters"])
def test_the_parameters_of_a_rate_of_their_own_are_the_networks_without_repetition(
    network: nn.Module, ask: str
) -> None:
    own = Counter(id(p) for p in getattr(network, ask, list)())
    assert set(own) <= {id(p) for p in network.parameters()}
    assert set(own.values()) <= {1}


@pytest.mark.parametrize("batch", [1, 3])
def test_the_exported_graph_gives_the_same_labels_for_any_batch(exported: tuple[nn.Module, Path], batch: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (batch, 64, 64, 3), np.uint8)
    agreement = label_agreement(*exported, [images])
    assert agreement.pixels == batch * 64 * 64
    assert agreement.share >= _AGREEMENT
    assert agreement.largest_logit_difference < 1e-2


def test_tensorrt_takes_the_exported_graph_and_its_twin_in_half_precision(exported: tuple[nn.Module, Path]) -> None:
    assert findings(onnx.load(exported[1])) == []
    assert findings(typed(exported[1], "fp16")) == []


def test_the_exported_graph_has_a_dynamic_batch_and_no_control_flow(exported: tuple[nn.Module, Path]) -> None:
    graph = onnx.load(exported[1]).graph
    assert not {"If", "Loop", "Scan"} & {node.op_type for node in graph.node}
    batch, *fixed = graph.input[0].type.tensor_type.shape.dim
    assert batch.dim_param
    assert [dim.dim_value for dim in fixed] == [64, 64, 3]


def test_full_size_parameter_counts_are_the_stored_ones(architecture: str) -> None:
    counts = {"training": 0, "deployed": 0}
    with torch.device("meta"):
        network = build(SegmConfig(architecture, classes=20, lite_fpn=LiteFpnConfig(pretrained=False)))
    for name, parameter in network.named_parameters():
        counts["training"] += parameter.numel()
        counts["deployed"] += 0 if name.startswith("auxiliary_head.") else parameter.numel()
    rows = [line.split() for line in (GOLDEN / "parameters.txt").read_text().splitlines() if line[0] != "#"]
    assert counts == {part: int(count) for name, part, count in rows if name == architecture}


@pytest.mark.parametrize(("variant", "parameters"), [("lite0", 2_958_848), ("lite2", 4_357_952)])
def test_an_encoder_takes_the_released_weights_and_computes_depthwise_in_float32(
    variant: Variant, parameters: int
) -> None:
    encoder = EfficientNetLite(variant)
    encoder.load_imagenet()
    assert sum(p.numel() for p in encoder.parameters()) == parameters
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    seen: list[torch.dtype] = []
    for module in encoder.modules():
        if isinstance(module, DepthwiseConv2d):
            module.register_forward_hook(lambda _module, _inputs, output: seen.append(output.dtype))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        features = encoder.eval()(x)
    assert set(seen) == {torch.float32}
    assert tuple(f.shape[1] for f in features) == encoder.channels
    assert [64 // f.shape[-1] for f in features] == [2, 4, 8, 16, 32]


def test_without_the_last_step_of_its_decoder_it_says_less_finely_and_learns_all_the_same() -> None:
    fine = LiteFpnConfig(widths=(8, 8, 16, 16, 16), pretrained=False, dropout=0)
    networks = [LiteFpn(CLASSES, replace(fine, stride=stride)) for stride in (2, 4)]
    assert [64 // n(_pictures(2)).logits.shape[-1] for n in networks] == [n.stride for n in networks] == [2, 4]
    assert len(list(networks[1].parameters())) < len(list(networks[0].parameters()))
    labels = torch.randint(0, CLASSES, (2, 64, 64), dtype=torch.uint8)
    segm_loss(networks[1](_pictures(2)), labels, LossConfig(thin=2))["loss"].backward()
    assert all(p.grad is not None for p in networks[1].parameters())


def test_logits_of_known_weights_are_the_stored_ones(network: nn.Module, architecture: str) -> None:
    _set_known_weights(network)
    x = 2 * torch.sin(torch.arange(2 * 3 * 64 * 64, dtype=torch.float64) ** 2 * 1e-3)
    logits = _logits(network.eval(), x.float().reshape(2, 3, 64, 64))
    found = [logits.mean().item(), logits.std().item(), *logits[1, :3, 2, 5].tolist()]
    rows = [line.split() for line in (GOLDEN / "logits.txt").read_text().splitlines() if line[0] != "#"]
    stored = {name: [float(v) for v in values] for name, *values in rows}
    assert found == pytest.approx(stored[architecture], rel=1e-3, abs=1e-4)


def _settle(network: nn.Module) -> None:
    """Lets the batch norms see data, so that what follows has the scale that it has after training."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(_pictures(4))
    network.eval()


def _set_known_weights(network: nn.Module) -> None:
    """Weights from a formula: no generator of random numbers, which may change, has a hand in them."""
    with torch.no_grad():
        for i, (name, parameter) in enumerate(network.named_parameters()):
            wave = torch.sin(torch.arange(parameter.numel(), dtype=torch.float64) * 1.7 + i).reshape(parameter.shape)
            if parameter.ndim > 1:
                parameter.copy_(wave * (2 / parameter[0].numel()) ** 0.5)
            else:
                parameter.copy_(0.1 * wave + (0 if name.endswith("bias") else 1))
