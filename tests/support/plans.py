"""Plans for tests: files and manifests that fit each other, for a machine with TensorRT and a GPU."""

import hashlib
from pathlib import Path

from fpan.contract import ModelCard
from fpan.tensorrt.manifest import BatchProfile, Manifest, Target, write_manifest
from fpan.tensorrt.plans import plan_folder

TARGET = Target(tensorrt="10.16.2.10", gpu="NVIDIA L4")
PLAN = b"what TensorRT would have written"


def manifest_of(card: ModelCard) -> Manifest:
    """What fits a version, :data:`TARGET` and :data:`PLAN`."""
    return Manifest(
        name=card.name,
        version=card.version,
        network=card.sha256,
        plan=hashlib.sha256(PLAN).hexdigest(),
        precision="fp16",
        target=TARGET,
        compute_capability="8.9",
        driver="580.95.05",
        profile=BatchProfile(),
        inputs=card.inputs,
        agreement=0.999,
        pictures=16,
        created="2026-11-24T20:00:00+00:00",
    )


def write_plan(plans: Path, card: ModelCard, manifest: Manifest | None = None) -> Path:
    """Writes a plan and its manifest, and returns the plan."""
    manifest = manifest or manifest_of(card)
    folder = plan_folder(plans, card, manifest.target, manifest.precision)
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_bytes(write_manifest(manifest))
    plan = folder / "model.plan"
    plan.write_bytes(PLAN)
    return plan
