"""UVM: gradients stay on their side, what is visible survives, mirroring is the baseline, poses keep labels right."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from fpan_training.face3d.atlas import FACE_SHARE
from fpan_training.face3d.atlas import mirror as mirror_map
from fpan_training.face3d.model import FaceModel
from fpan_training.face3d.uv import UvMap
from fpan_training.modules.uvm.complete import Completion, MirrorCompletion
from fpan_training.modules.uvm.fill import mirror_labels, mirror_texture, nearest
from fpan_training.modules.uvm.identity import Identity, frontal_view
from fpan_training.modules.uvm.loss import UvmLossConfig, symmetry, total_variation
from fpan_training.modules.uvm.mirror import mirror
from fpan_training.modules.uvm.model import UvGan, UvmConfig, build
from fpan_training.modules.uvm.settings import PRESETS
from fpan_training.modules.uvm.step import UvBatch, UvmStep, colours, complete_batch, mask, with_noise
from fpan_training.taxonomy import TAXONOMY
from torch import Tensor

_SMOKE = PRESETS["smoke"].uvm
_SIZE = _SMOKE.size
_COUNTS = {"smoke": (82_048, 22_482), "cpu": (3_515_832, 350_626), "paper": (40_788_824, 5_531_266)}
"""Parameters of generator and discriminators."""


def _symmetric(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A made-up face that is the same on both sides: texture and labels."""
    texture = rng.integers(0, 256, (_SIZE, _SIZE, 3), np.uint8)
    left = np.arange(_SIZE) < _SIZE // 2
    texture = np.where(left[None, :, None], texture, mirror_map(texture))
    labels = np.full((_SIZE, _SIZE), TAXONOMY.id_of("skin"), np.uint8)
    labels[10:14, 8:20] = TAXONOMY.id_of("r_eye")
    return texture, np.where(left[None], labels, TAXONOMY.partner_table[mirror_map(labels)])


def _right_side_only() -> np.ndarray:
    """What a turned head shows: all but the person's own left half of the face."""
    visible = np.ones((_SIZE, _SIZE), bool)
    visible[:50, _SIZE // 2 :] = False
    return visible


def _batch(count: int = 2, seed: int = 0) -> UvBatch:
    items = []
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        texture, labels = _symmetric(rng)
        known, visible = np.ones((_SIZE, _SIZE), bool), _right_side_only()
        hidden = np.where(visible[..., None], texture, 0)
        filled = mirror_texture(hidden, visible)
        items.append([texture, known, visible, with_noise(texture, visible, rng), filled, labels])
    return UvBatch(*(torch.from_numpy(np.stack(parts)) for parts in zip(*items, strict=True)))


@pytest.fixture(scope="module")
def network() -> UvGan:
    torch.manual_seed(0)
    return build(_SMOKE)


@pytest.mark.parametrize("preset", list(_COUNTS))
def test_sizes_of_the_presets_are_those_on_record(preset: str):
    with torch.device("meta"):
        built = build(PRESETS[preset].uvm)
    counts = tuple(sum(p.numel() for p in part.parameters()) for part in (built.generator, built.critics))
    assert counts == _COUNTS[preset]


def test_a_size_that_cannot_be_halved_is_refused():
    with pytest.raises(ValueError, match="multiple"):
        UvmConfig(size=100, depth=5)


def _side_gradients(network: UvGan, loss: Tensor) -> tuple[float, float]:
    """Largest gradient of a loss in the generator and in the discriminators."""

    def largest(part: torch.nn.Module) -> float:
        gradients = torch.autograd.grad(loss, list(part.parameters()), retain_graph=True, allow_unused=True)
        return max((float(g.abs().max()) for g in gradients if g is not None), default=0.0)

    return largest(network.generator), largest(network.critics)


def test_the_generators_loss_moves_the_generator_and_no_discriminator(network: UvGan):
    losses = UvmStep().train(network, _batch())
    generator, critics = _side_gradients(network, losses["generator"])
    assert generator > 0
    assert critics == 0


def test_the_discriminators_loss_moves_the_discriminators_and_no_generator(network: UvGan):
    losses = UvmStep().train(network, _batch())
    generator, critics = _side_gradients(network, losses["discriminator"])
    assert generator == 0
    assert critics > 0


def test_fooling_the_discriminators_is_a_gradient_of_the_generator(network: UvGan):
    losses = UvmStep().train(network, _batch())
    for part in ("adversarial", "adversarial_centre"):
        assert _side_gradients(network, losses[part])[0] > 0
        assert _side_gradients(network, losses[part])[1] == 0


def test_the_minimised_loss_is_the_sum_of_both_sides(network: UvGan):
    losses = UvmStep().train(network, _batch())
    torch.testing.assert_close(losses["loss"], losses["generator"] + losses["discriminator"])


def test_what_the_source_never_showed_counts_for_little_and_for_the_discriminators_not_at_all(network: UvGan):
    batch = _batch()
    known = batch.known.clone()
    known[:, :20] = False
    shown = batch._replace(known=known, visible=batch.visible & known)
    other = shown.texture.clone()
    other[:, :20] = 255 - other[:, :20]
    changed = shown._replace(texture=other)
    nothing = UvmStep(UvmLossConfig(guessed=0))
    a, b = (nothing.train(network, one) for one in (shown, changed))
    assert all(torch.equal(a[name], b[name]) for name in a)
    a, b = (UvmStep().train(network, one) for one in (shown, changed))
    assert {name for name in a if not torch.equal(a[name], b[name])} == {"l1_whole", "generator", "loss"}


def test_an_untrained_network_mirrors_all_but():
    torch.manual_seed(0)
    batch = _batch()
    texture, _ = complete_batch(build(_SMOKE).eval(), batch)
    assert (texture - colours(batch.texture)).abs().max() < 0.12


def test_the_network_learns_what_mirroring_cannot_know():
    """The person's left side is in the shade and hidden: a few steps have to find out how dark it is."""
    torch.manual_seed(0)
    trained = build(_SMOKE)
    batch = _batch(4)
    texture = batch.texture.clone()
    texture[:, :, _SIZE // 2 :] = texture[:, :, _SIZE // 2 :] // 2
    visible = batch.visible[..., None]
    partial, filled = (torch.where(visible, texture, other) for other in (batch.partial, batch.filled))
    batch = batch._replace(texture=texture, partial=partial, filled=filled)
    optimizer = torch.optim.AdamW(trained.parameters(), 1e-2)
    losses = []
    for _ in range(40):
        parts = UvmStep().train(trained, batch)
        parts["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(parts["l1_whole"].item())
    assert losses[-1] < 0.6 * losses[0]


def test_a_symmetric_face_has_no_symmetry_loss():
    batch = _batch()
    assert symmetry(colours(batch.texture), mask(~batch.visible)) == 0
    lopsided = batch.texture.clone()
    lopsided[:, 5, -3] = 255 - lopsided[:, 5, -3]
    assert symmetry(colours(lopsided), mask(~batch.visible)) > 0


def test_visible_texels_count_for_neither_symmetry_nor_smoothness():
    texture = colours(_batch().texture)
    nothing_hidden = torch.zeros_like(texture[:, :1])
    assert symmetry(texture.roll(3, -1), nothing_hidden) == 0
    assert total_variation(texture, nothing_hidden) == 0


def test_labels_teach_only_where_they_are_known(network: UvGan):
    batch = _batch()
    nothing = batch._replace(labels=torch.full_like(batch.labels, TAXONOMY.ignore))
    losses = UvmStep().train(network, nothing)
    assert losses["labels"] == 0
    assert torch.isfinite(losses["loss"])


def test_batches_mirror_as_single_maps_do():
    batch = _batch()
    single = np.stack([mirror_map(texture) for texture in batch.texture.numpy()])
    torch.testing.assert_close(mirror(batch.texture.permute(0, 3, 1, 2)), torch.from_numpy(single).permute(0, 3, 1, 2))
    assert torch.equal(mirror(mirror(colours(batch.texture))), colours(batch.texture))


def test_mirroring_restores_a_symmetric_face():
    texture, labels = _symmetric(np.random.default_rng(0))
    visible = _right_side_only()
    hidden = np.where(visible[..., None], texture, 0)
    np.testing.assert_array_equal(mirror_texture(hidden, visible), texture)
    np.testing.assert_array_equal(mirror_labels(np.where(visible, labels, 0), visible), labels)


def test_mirrored_labels_change_sides():
    _, labels = _symmetric(np.random.default_rng(0))
    completed = mirror_labels(labels, _right_side_only())
    assert completed[12, _SIZE - 1 - 12] == TAXONOMY.id_of("l_eye")


def test_what_neither_side_shows_comes_from_the_nearest_place_on_the_head():
    """The back of the head lies at the map's lower edge, as the teeth do, but next to the scalp on the head."""
    parts = cv2.resize(FaceModel.load().part_map, (_SIZE, _SIZE), interpolation=cv2.INTER_NEAREST)
    lower, scalp = np.zeros_like(parts, bool), parts == TAXONOMY.id_of("hair")
    lower[round(FACE_SHARE * _SIZE) :] = True
    known = ~lower & np.isin(parts, [TAXONOMY.id_of(name) for name in ("hair", "u_lip", "l_lip")])
    found = nearest(np.where(known, parts, 0), known)
    assert (found[lower & scalp] == TAXONOMY.id_of("hair")).mean() > 0.9
    np.testing.assert_array_equal(found[known], parts[known])


def test_nothing_known_leaves_everything_as_it_is():
    values = np.arange(16, dtype=np.uint8).reshape(4, 4)
    np.testing.assert_array_equal(nearest(values, np.zeros((4, 4), bool)), values)


@pytest.fixture(params=["network", "mirror"])
def completion(request: pytest.FixtureRequest, network: UvGan) -> Completion | MirrorCompletion:
    return Completion(network) if request.param == "network" else MirrorCompletion(_SIZE)


def test_visible_texels_survive_unchanged(completion: Completion | MirrorCompletion):
    texture, labels = _symmetric(np.random.default_rng(1))
    visible = np.random.default_rng(2).random((_SIZE, _SIZE)) < 0.5
    whole = completion.complete(UvMap(texture, labels, visible))
    np.testing.assert_array_equal(whole.texture[visible], texture[visible])
    assert whole.labels is not None
    np.testing.assert_array_equal(whole.labels[visible], labels[visible])
    assert whole.visible.all()


def test_a_map_is_always_completed_in_the_same_way(completion: Completion | MirrorCompletion):
    texture, labels = _symmetric(np.random.default_rng(1))
    uv_map = UvMap(texture, labels, _right_side_only())
    np.testing.assert_array_equal(completion.complete(uv_map).texture, completion.complete(uv_map).texture)


def test_a_map_without_labels_gets_none(completion: Completion | MirrorCompletion):
    texture, _ = _symmetric(np.random.default_rng(1))
    assert completion.complete(UvMap(texture, None, _right_side_only())).labels is None


def test_a_map_of_another_size_is_refused(completion: Completion | MirrorCompletion):
    with pytest.raises(ValueError, match="unwrap"):
        completion.complete(UvMap(np.zeros((32, 32, 3), np.uint8), None, np.ones((32, 32), bool)))


def test_the_same_map_is_the_same_person_and_another_is_not():
    identity = Identity(lambda faces: faces.flatten(1), *frontal_view(32, 0.1))
    texture = colours(_batch().texture)
    assert identity(texture, texture).abs() < 1e-6
    assert identity(texture.flip(2), texture) > 1e-3


def test_identity_counts_in_the_loss_and_moves_the_generator(network: UvGan):
    identity = Identity(lambda faces: faces.flatten(1), *frontal_view(32, 0.1))
    config = replace(UvmLossConfig(), identity=1.0)
    losses = UvmStep(config, identity).train(network, _batch())
    assert _side_gradients(network, losses["identity"])[0] > 0
