"""A folder of TensorRT plans, and the one that fits.

::

    <plans>/<model>/<version>/<tensorrt>-<gpu>-<precision>/model.plan, manifest.json
"""

from dataclasses import dataclass
from pathlib import Path

from fpan.contract import ModelCard, sha256_of
from fpan.serve.inference.triton_server.profiles import PLAN_FILE
from fpan.serve.inference.triton_server.tree import NoPlan
from fpan.tensorrt.manifest import (
    MANIFEST_FILE,
    ManifestError,
    Precision,
    Target,
    misfits,
    read_manifest,
)


def plan_folder(plans: Path, card: ModelCard, target: Target, precision: Precision) -> Path:
    """Where the plan of a version is written. What fits is told by its manifest alone, never by this name."""
    gpu = "-".join(target.gpu.lower().replace("/", " ").split())
    return plans / card.name / str(card.version) / f"{target.tensorrt}-{gpu}-{precision}"


@dataclass(frozen=True)
class Plans:
    """A folder of plans, and what one must fit."""

    folder: Path
    target: Target | None
    """Where the plans are to run; None where that is not known, so that none can be said to fit."""
    precision: Precision = "fp16"

    def find(self, card: ModelCard, max_batch: int) -> Path:
        """The plan of a version.

        Args:
            card: of the version.
            max_batch: largest batch that it will be given.

        Raises:
            NoPlan: there is none, or none that fits; of several, the one that comes closest is told.
        """
        manifests = sorted((self.folder / card.name / str(card.version)).glob(f"[!.]*/{MANIFEST_FILE}"))
        if not manifests:
            raise NoPlan(f"no plan of it is in {self.folder}")
        if self.target is None:
            raise NoPlan(
                "there are plans, but neither trtexec nor nvidia-smi is here to tell which TensorRT and which GPU will "
                "serve: name them with --tensorrt and --gpu"
            )
        refused = []
        for path in manifests:
            why = self._misfits(path, card, self.target, max_batch)
            if not why:
                return path.with_name(PLAN_FILE)
            refused.append((len(why), f"the plan {path.parent} {', '.join(why)}"))
        raise NoPlan(min(refused)[1])

    def _misfits(self, path: Path, card: ModelCard, target: Target, max_batch: int) -> list[str]:
        try:
            manifest = read_manifest(path.read_bytes())
        except ManifestError as error:
            return [f"has a {MANIFEST_FILE} that {error}"]
        found = misfits(manifest, card, target, self.precision, max_batch)
        if found:
            return found
        plan = path.with_name(PLAN_FILE)
        if not plan.is_file():
            return [f"lacks its {PLAN_FILE}"]
        if sha256_of(plan) != manifest.plan:
            return [f"was changed after it was built: the sha256 of {PLAN_FILE} is not the manifest's"]
        return []
