"""DOM's network: the autoencoder's wiring and size, and its losses."""

from dataclasses import replace

import pytest
import torch
from fpan_training.modules.dom import RLA_PAPER, RLA_SMALL, RLA_SMOKE, DomNetwork, Rla, RlaConfig
from fpan_training.modules.dom.evaluate import psnr_inside
from fpan_training.modules.dom.loss import LossConfig, face_loss, joint_loss, step_errors
from fpan_training.modules.dom.lstm import FORGET_BIAS, PeepholeLstm, SpatialLstm
from fpan_training.modules.dom.model import RlaOutput, compose
from fpan_training.modules.dom.step import DomStep
from fpan_training.taxonomy import TAXONOMY
from torch import Tensor, nn

_OCCLUSION = TAXONOMY.id_of("occlusion")
_TIMES = {"seconds", "pictures_per_second"}


@pytest.fixture
def network() -> DomNetwork:
    torch.manual_seed(3)
    return DomNetwork(RLA_SMOKE)


@pytest.fixture
def batch(network: DomNetwork) -> tuple[Tensor, Tensor, Tensor]:
    """Four noisy pictures whose upper left quarter is covered."""
    torch.manual_seed(4)
    clean = torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8)
    mask = torch.zeros(4, 32, 32, dtype=torch.uint8)
    mask[:, :16, :16] = 255
    return torch.where(mask[..., None] > 0, 7, clean), clean, mask


# --- the network -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("coupled", "parameters"), [(True, 310_509_568), (False, 293_732_352)])
def test_the_published_network_has_the_published_number_of_parameters(coupled: bool, parameters: int) -> None:
    with torch.device("meta"):
        network = Rla(replace(RLA_PAPER, coupled=coupled))
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_the_small_network_is_small() -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in DomNetwork(RLA_SMALL).parameters()) < 35_500_000


@pytest.mark.parametrize(
    "wrong", [{"grid": 4}, {"patch": 18}, {"stride": 15}, {"steps": 0}, {"patch": 24, "stride": 8}, {"layers": 0}]
)
def test_sizes_that_do_not_fit_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"fit|multiples|least"):
        replace(RLA_SMOKE, **wrong)


def test_a_picture_of_another_size_is_refused(network: DomNetwork) -> None:
    with pytest.raises(ValueError, match=r"takes \(B, 3, 32, 32\)"):
        network.rla(torch.rand(1, 3, 40, 32))


def test_a_position_of_the_spatial_lstm_sees_what_lies_before_it_and_nothing_after() -> None:
    torch.manual_seed(0)
    layer = SpatialLstm(5, 8)
    features = torch.randn(1, 3, 2, 5, requires_grad=True)
    hidden, last = layer(features)
    assert torch.equal(last.hidden, hidden[:, 2, 1])
    for i in range(3):
        for j in range(2):
            (reach,) = torch.autograd.grad(hidden[0, i, j].sum(), features, retain_graph=True)
            seen = reach[0].abs().sum(-1) > 0
            expected = (torch.arange(3)[:, None] <= i) & (torch.arange(2)[None] <= j)
            assert torch.equal(seen, expected), (i, j)


def test_left_and_above_have_forget_gates_of_their_own() -> None:
    torch.manual_seed(0)
    layer = SpatialLstm(4, 6)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.input.weight[18:24].normal_()  # the candidate
        layer.input.bias[6:12] = 50  # the left cell is kept whole
        layer.input.bias[12:18] = -50  # and the one above forgotten
    features = torch.randn(1, 2, 2, 4)
    cells = 0.5 * torch.tanh(features @ layer.input.weight[18:24].T)
    _, last = layer(features)
    assert torch.allclose(last.cell, cells[:, 1, 1] + cells[:, 1, 0], atol=1e-6)


def test_forget_gates_start_open_and_other_gates_even() -> None:
    spatial, decoder = SpatialLstm(3, 4).input.bias, PeepholeLstm(0, 4).own.bias
    assert (spatial[4:12] == FORGET_BIAS).all()
    assert (decoder[4:8] == FORGET_BIAS).all()
    assert spatial[:4].abs().sum() + spatial[12:].abs().sum() == 0
    assert decoder[:4].abs().sum() + decoder[8:].abs().sum() == 0


def test_coarse_patches_are_the_halved_surroundings_and_stay_inside() -> None:
    config = RlaConfig(size=32, channels=1, hidden=4, grid=3, stride=12, patch=8, steps=1)
    image = torch.rand(1, 1, 32, 32)
    patches = Rla(config).patches(image)
    assert patches.shape == (1, 3, 3, 128)
    fine, coarse = (part.reshape(3, 3, 8, 8) for part in patches[0].chunk(2, -1))
    assert torch.equal(fine[1, 2], image[0, 0, 12:20, 24:32] - 0.5)
    halved = nn.functional.avg_pool2d(image - 0.5, 2)[0, 0]
    assert torch.equal(coarse[1, 1], halved[4:12, 4:12])  # starts 4 pixels before 12
    assert torch.equal(coarse[0, 2], halved[0:8, 8:16])  # pushed back in at either edge


def test_the_decoder_starts_from_the_encoders_layers_in_reversed_order(network: DomNetwork) -> None:
    rla = network.rla
    images = torch.rand(2, 3, 32, 32)
    encoded = rla.encode(images)
    first, last = rla.face(encoded)
    assert torch.equal(first[0], encoded[1].hidden)
    assert torch.equal(last[:, 0], encoded[0].hidden)
    below = rla.face.layers[0](None, encoded[1])
    above = rla.face.layers[1](below.hidden, encoded[0])
    assert torch.equal(last[:, 1], above.hidden)


def test_steps_add_up_before_the_sigmoid(network: DomNetwork) -> None:
    rla = network.rla
    rla.face.readout.bias.data.uniform_()
    images = torch.rand(2, 3, 32, 32)
    _, hidden = rla.face(rla.encode(images))
    single = rla.face.readout(hidden).reshape(2, 3, 3, 32, 32)
    faces = rla(images).faces
    assert torch.allclose(torch.logit(faces[:, 2]), single.sum(1), atol=1e-4)
    assert torch.allclose(torch.logit(faces[:, 1]), single[:, :2].sum(1), atol=1e-4)
    alone = rla(images, every_step=False)
    assert torch.allclose(alone.faces[:, 0], faces[:, 2], atol=1e-6)


def test_the_occlusion_channel_follows_the_face_channel_only_where_they_are_coupled() -> None:
    for coupled in (True, False):
        torch.manual_seed(1)
        rla = Rla(replace(RLA_SMOKE, coupled=coupled))
        images = torch.rand(1, 3, 32, 32)
        before = rla(images).mask_logits
        with torch.no_grad():
            rla.face.layers[0].own.weight.mul_(2)
        after = rla(images).mask_logits
        assert torch.equal(before[:, 0], after[:, 0])  # the first step is the encoder's state
        assert torch.equal(before[:, 1:], after[:, 1:]) != coupled


def test_a_network_starts_at_the_mean_face(network: DomNetwork) -> None:
    mean = torch.rand(3, 32, 32) * 0.8 + 0.1
    network.rla.face.start_at(mean)
    network.rla.face.readout.weight.data.zero_()
    last = network.rla(torch.rand(1, 3, 32, 32), every_step=False).faces[0, 0]
    assert torch.allclose(last, mean, atol=1e-5)


def test_mask_0_leaves_the_picture_and_mask_1_gives_the_face_to_the_bit() -> None:
    occluded, face = torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8)
    assert torch.equal(compose(occluded, face, torch.zeros(1, 1, 8, 8)), occluded)
    assert torch.equal(compose(occluded, face, torch.ones(1, 1, 8, 8)), face)


# --- losses ----------------------------------------------------------------------------------------------------------


def test_stage_1_is_the_plain_squared_error_of_the_last_step() -> None:
    faces, clean = torch.rand(2, 3, 3, 8, 8), torch.rand(2, 3, 8, 8)
    assert torch.equal(face_loss(RlaOutput(faces, None), clean)["loss"], (faces[:, 2] - clean).square().mean())


def test_eq_1_takes_each_pictures_best_step() -> None:
    torch.manual_seed(0)
    occluded, clean = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    faces = torch.rand(2, 3, 3, 8, 8)
    faces[0, 1], faces[1, 0] = clean[0], clean[1]
    logits = torch.full((2, 3, 1, 8, 8), 200.0)  # everything is covered
    output = RlaOutput(faces, logits)
    losses = joint_loss(output, logits[:, -1], occluded, clean, torch.ones(2, 1, 8, 8), LossConfig(last=0.0, mask=0.0))
    errors = step_errors(faces, logits.sigmoid(), occluded, clean)
    assert losses["best"] == 0
    assert errors[0].argmin() == 1
    assert errors[1].argmin() == 0
    assert losses["last"] == errors[:, -1].mean() > 0
    assert losses["loss"] == losses["compared"]


def test_stage_2_without_the_occlusion_channel_is_refused() -> None:
    x = torch.rand(1, 3, 8, 8)
    with pytest.raises(ValueError, match="occlusion channel"):
        joint_loss(RlaOutput(x[:, None], None), x, x, x, x[:, :1], LossConfig())


def test_every_parameter_learns_in_stage_2_and_the_comparison_pulls_at_nothing_else(
    network: DomNetwork, batch: tuple[Tensor, Tensor, Tensor]
) -> None:
    network.comparison.head.weight.data.normal_()
    step = DomStep(3, joint=True)
    step.train(network, batch)["loss"].backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name
    network.zero_grad()
    step.train(network, batch)["compared"].backward()
    assert all(p.grad is None for p in network.rla.parameters())


def test_stage_1_leaves_the_occlusion_channel_alone(network: DomNetwork, batch: tuple[Tensor, Tensor, Tensor]) -> None:
    DomStep(3, joint=False).train(network, batch)["loss"].backward()
    assert all(p.grad is None for p in [*network.rla.occlusion.parameters(), *network.comparison.parameters()])
    assert all(p.grad is not None for p in [*network.rla.encoder.parameters(), *network.rla.face.parameters()])


def test_psnr_inside_looks_at_covered_pixels_only() -> None:
    clean, guess = torch.full((2, 3, 4, 4), 0.5), torch.full((2, 3, 4, 4), 0.9)
    mask = torch.zeros(2, 1, 4, 4)
    mask[0, :, :2] = 1
    guess[0, :, :2] = 0.6
    assert psnr_inside(guess, clean, mask) == pytest.approx([20.0], abs=1e-3)
