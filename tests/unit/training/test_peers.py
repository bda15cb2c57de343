"""The published kinds that SEGM is compared with: their sizes against what is published, and what is theirs alone."""

from itertools import pairwise

import pytest
import torch
from fpan_training.nets.bisenet import BiSeNet, BiSeNetConfig
from fpan_training.nets.unet import UNet, UNetConfig
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

_CITYSCAPES = 19
_MIB_OF_FLOATS = 4 / 2**20


def _count(network: nn.Module) -> int:
    return sum(p.numel() for name, p in network.named_parameters() if not name.startswith("auxiliary_head."))


def test_bisenet_has_the_parameters_of_the_authors_release_and_the_papers_size() -> None:
    with torch.device("meta"):
        network = BiSeNet(_CITYSCAPES, BiSeNetConfig())
    assert _count(network) == 12_894_163
    # The paper says 49.0 "M": that is MiB of float32, as the 42.7 of its ResNet-18 shows, which has 11.2 million
    # parameters.
    assert _count(network.context) == 11_176_512
    assert _count(network.context) * _MIB_OF_FLOATS == pytest.approx(42.7, abs=0.1)
    assert _count(network) * _MIB_OF_FLOATS == pytest.approx(49.0, rel=0.005)


def test_unet_has_the_papers_23_convolutions_and_31_million_parameters() -> None:
    with torch.device("meta"):
        network = UNet(2, UNetConfig())
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert len(convolutions) == 23
    assert _count(network) == 31_037_698


@pytest.mark.parametrize("width", [8, 16])
def test_unets_cost_goes_with_the_square_of_its_width(width: int) -> None:
    costs = []
    for w in (width, 2 * width):
        with torch.device("meta"):
            network, picture = UNet(5, UNetConfig(w)).eval(), torch.empty(1, 3, 64, 64)
        with FlopCounterMode(display=False) as counter:
            network(picture)
        costs.append(counter.get_total_flops())
    assert costs[1] / costs[0] == pytest.approx(4, rel=0.1)


def test_unet_gives_logits_for_every_pixel_and_sees_its_fine_detail() -> None:
    torch.manual_seed(0)
    network = UNet(3, UNetConfig(4)).eval()
    x = torch.randn(1, 3, 32, 48)
    changed = x.clone()
    changed[0, :, 16, 20] += 1
    before, after = network(x).logits, network(changed).logits
    assert before.shape == (1, 3, 32, 48)
    difference = (after - before).abs().amax((0, 1))
    assert difference.argmax() == 16 * 48 + 20 or difference[14:19, 18:23].max() == difference.max()


def test_bisenet_refuses_a_batch_of_one_in_training_and_takes_it_in_evaluation() -> None:
    network = BiSeNet(5, BiSeNetConfig(stem=8, width=16))
    with pytest.raises(ValueError, match="two pictures or more"):
        network(torch.randn(1, 3, 32, 32))
    assert network.eval()(torch.randn(1, 3, 32, 32)).logits.shape == (1, 5, 4, 4)


def test_bisenets_auxiliary_heads_speak_at_16_and_8() -> None:
    output = BiSeNet(5, BiSeNetConfig(stem=8, width=16))(torch.randn(2, 3, 64, 96))
    assert [tuple(logits.shape) for logits in output.auxiliary] == [(2, 5, 4, 6), (2, 5, 8, 12)]


def test_bisenets_light_context_path_is_pretrained_and_learns_at_its_own_rate() -> None:
    light = BiSeNet(5, BiSeNetConfig("efficientnet_lite0", pretrained=False, width=16))
    assert {id(p) for p in light.pretrained_parameters()} == {id(p) for p in light.context.parameters()}
    assert light(torch.randn(2, 3, 64, 64)).logits.shape == (2, 5, 8, 8)
    assert BiSeNet(5, BiSeNetConfig(stem=8)).pretrained_parameters() == []


def test_imagenet_weights_survive_the_start_of_the_rest() -> None:
    torch.manual_seed(0)
    one = BiSeNet(5, BiSeNetConfig("efficientnet_lite0", width=16))
    torch.manual_seed(1)
    other = BiSeNet(5, BiSeNetConfig("efficientnet_lite0", width=16))
    for a, b in zip(one.context.parameters(), other.context.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(one.overall[0].weight, other.overall[0].weight)


def test_a_deeper_unet_asks_for_larger_multiples() -> None:
    multiples = [UNet(2, UNetConfig(2, depth)).multiple for depth in (2, 3, 5)]
    assert multiples == [4, 8, 32]
    assert all(a < b for a, b in pairwise(multiples))
