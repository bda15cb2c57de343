"""What is trained: rows, networks, seeds, and the budget that is the same for all of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fpan_training.data.augment import AugmentConfig
from fpan_training.engine.settings import LoopConfig
from fpan_training.modules.segm.model import SegmConfig
from fpan_training.modules.segm.weights import WeightConfig
from fpan_training.modules.training import Preset
from fpan_training.nets.bisenet import BiSeNetConfig
from fpan_training.nets.lite_fpn import LiteFpnConfig
from fpan_training.nets.rtformer import RTFormerConfig
from fpan_training.nets.unet import UNetConfig

OURS = "lite_fpn"
"""The architecture of table I's rows: the one that is served."""
_RTFORMER_LOW_STRIDE = 32


@dataclass(frozen=True)
class Row:
    """A row of table I: the modules whose work the training uses."""

    name: str
    """As in the paper's table, short; also the name of the runs' folders."""
    pose: bool = False
    """PPM: pictures of turned heads weigh more (lambda_p of Eq. 2)."""
    occlusion: bool = False
    """LOM: pixels near hidden landmarks weigh more (lambda_o of Eq. 2)."""
    routed: bool = False
    """DOM: pictures whose occlusion nobody marked, with the labels that DOM gave them."""
    posed: bool = False
    """UVM: pictures turned to other poses."""

    @property
    def slug(self) -> str:
        """Its name in folders."""
        return self.name.lstrip("+").lower()


ROWS = (
    Row("SEGM"),
    Row("+PPM", pose=True),
    Row("+LOM", pose=True, occlusion=True),
    Row("+DOM", pose=True, occlusion=True, routed=True),
    Row("+UVM", pose=True, occlusion=True, routed=True, posed=True),
)
"""Each with all that the ones before it have, as in the paper. The last is Mask-FPAN whole."""


@dataclass(frozen=True)
class Budget:
    """What every run is given."""

    input_size: int
    """Side of the pictures in pixels, for training and measuring."""
    epochs: int
    epoch_pictures: int
    """Pictures of an epoch, whatever the data sets hold: more data is not more steps."""
    loop: LoopConfig
    """Pace; its epochs are :attr:`epochs`."""
    augment: AugmentConfig
    networks: Mapping[str, SegmConfig]
    """By architecture."""

    @property
    def pictures(self) -> int:
        """That a run sees."""
        return self.epochs * self.epoch_pictures

    @property
    def steps(self) -> int:
        """Of a run."""
        return self.epochs * (self.epoch_pictures // self.loop.batch_size)

    @property
    def training_loop(self) -> LoopConfig:
        """The pace of a run: validated once, at its end, since no checkpoint is chosen."""
        return replace(self.loop, epochs=self.epochs, validate_every=self.epochs)


_AUGMENT = AugmentConfig(p_occluder=0)
"""Occlusion comes from the data sets that the rows differ in, and from nowhere else."""


def _networks(size: int, lite: LiteFpnConfig, bisenet: BiSeNetConfig, unet: UNetConfig) -> dict[str, SegmConfig]:
    # Eight keys a side want 256 pixels; at other sizes the grid of keys follows the input.
    rtformer = RTFormerConfig(cross_size=max(1, min(8, size // _RTFORMER_LOW_STRIDE)))
    shared = SegmConfig(input_size=size, lite_fpn=lite, bisenet=bisenet, unet=unet, rtformer=rtformer)
    return {name: replace(shared, architecture=name) for name in (OURS, "bisenet", "unet", "rtformer_slim")}


BUDGETS: dict[Preset, Budget] = {
    "smoke": Budget(
        input_size=64,
        epochs=1,
        epoch_pictures=16,
        loop=LoopConfig(batch_size=4, lr=3e-3, ema_decay=0.5, workers=0, precision="32-true", accelerator="cpu"),
        augment=_AUGMENT,
        networks=_networks(
            64,
            LiteFpnConfig((8, 8, 8, 8, 8), dropout=0),
            BiSeNetConfig("efficientnet_lite0", width=16, head=16, auxiliary_head=16),
            UNetConfig(8, 3),
        ),
    ),
    # Two processes of one thread each learn from about 42 pictures of 128 pixels a second together on two cores, in
    # float32 (bfloat16 is slower at this size). What counts is the number of steps: with batches of 16 and half of the
    # rate, 320 of them left eyes and mouth unlearnt.
    "cpu": Budget(
        input_size=128,
        epochs=14,
        epoch_pictures=1024,
        loop=LoopConfig(batch_size=8, lr=4e-3, ema_decay=0.99, precision="32-true"),
        augment=_AUGMENT,
        networks=_networks(128, LiteFpnConfig(), BiSeNetConfig("efficientnet_lite0"), UNetConfig(24)),
    ),
    # CelebAMask-HQ's 24,000 training pictures for 60 epochs, at the input size of its published baselines (512).
    "paper": Budget(
        input_size=512,
        epochs=60,
        epoch_pictures=24_000,
        loop=LoopConfig(batch_size=16, lr=1e-3, ema_decay=0.999, workers=8),
        augment=_AUGMENT,
        networks=_networks(512, LiteFpnConfig(), BiSeNetConfig(), UNetConfig()),
    ),
}


@dataclass(frozen=True)
class Job:
    """One run."""

    row: Row
    architecture: str
    seed: int

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.row.slug}-{self.architecture}-seed{self.seed}"


def jobs(
    rows: tuple[Row, ...], peers: tuple[str, ...], seeds: int, seeds_between: int, seeds_of_peers: int
) -> list[Job]:
    """All runs: ``seeds`` for the first and the last row, which matter most, the others fewer; peers on the first
    row's data with the plain loss. The first seed of every row comes first, so that an early end leaves a whole table.
    """
    counted = [
        (Job(row, OURS, seed), seed)
        for row in rows
        for seed in range(seeds if row in (rows[0], rows[-1]) else seeds_between)
    ]
    counted += [(Job(rows[0], peer, seed), seed) for peer in peers for seed in range(seeds_of_peers)]
    return [job for job, _ in sorted(counted, key=lambda item: item[1])]


def weights_of(row: Row, lambdas: WeightConfig) -> WeightConfig:
    """The weights of a row's loss."""
    return replace(
        lambdas,
        lambda_o=lambdas.lambda_o if row.occlusion else 0.0,
        lambda_p=lambdas.lambda_p if row.pose else 0.0,
    )
