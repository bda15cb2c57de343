"""`fpan-train export-phone`: a version as LiteRT (.tflite) and ONNX Runtime Mobile (.ort), in int8, for phones.

``.ort`` is made of the version's own file. ``.tflite`` is converted anew from PyTorch, which the version gives back
(:mod:`fpan_training.modules.segm.stored`), by ``litert-torch``, and quantised by ``ai-edge-quantizer``: both
Apache-2.0, of the extra ``[phone]``, and nearly a gigabyte, so that they are imported here alone.

Both files give logits, which phones enlarge as their screens need it: ``.ort`` in float32 of uint8 crops (1, S, S, 3),
``.tflite`` in int8 of int8 crops, with scales and zero points as the file says.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import torch
from fpan.contract import GOLDEN_FILE, GoldenPictures, ModelCard, Reference, RepositoryError
from fpan.contract.network import quantised_nodes, whole
from fpan.registry import Registry, open_store
from numpy.typing import NDArray
from torch import Tensor, nn

from fpan_training.data.folder import FaceFolder
from fpan_training.modules.segm.checkpoint import load_network, read_config
from fpan_training.modules.segm.preprocess import Normalise
from fpan_training.modules.segm.step import to_size
from fpan_training.modules.segm.stored import RESUME, read_checkpoint
from fpan_training.nets.interface import SegmNetwork
from fpan_training.release.export.onnx_file import INPUT, open_session
from fpan_training.release.gates.contender import MODEL_FILE

_LOGITS = "logits"
_CROPS = "args_0"
"""What litert-torch calls the only input of a network."""


class PhoneError(ValueError):
    """A file for phones could not be made, or says something else than the version."""


class _OnPhone(nn.Module):
    """Bytes of a crop as floats, (1, S, S, 3), to logits divided by the temperature, (1, classes, s, s)."""

    def __init__(self, network: nn.Module, temperature: float) -> None:
        super().__init__()
        self.normalise, self.network, self.temperature = Normalise(), network.eval(), temperature

    def forward(self, images_bhwc: Tensor) -> Tensor:
        logits = cast(SegmNetwork, self.network)(self.normalise(images_bhwc)).logits
        return logits * (1 / self.temperature)


@dataclass(frozen=True)
class ExportPhone:
    """Writes a version for phones, and compares what the files say with what the version says."""

    data: Path | None = None
    """Training pictures that int8's ranges are taken from; without them the version's golden pictures."""
    repository: str = "model_repository"
    """The model repository: a folder, or ``s3://BUCKET/PREFIX``."""
    model: str = "segm"
    """NAME, NAME:VERSION or NAME@ALIAS; a version that is served in int8, or has ``resume.npz``, at least."""
    out: Path = Path("phone")
    """Folder of the files."""
    pictures: int = 64
    """That ranges are taken from, at most."""
    least_agreement: float = 0.98
    """Share of the labels of the golden pictures that each file must give as the version does in float32."""

    def __call__(self) -> None:
        """Writes ``NAME-VERSION.tflite`` and ``NAME-VERSION.ort``.

        Raises:
            RepositoryError: the version is broken, or older than ``resume.npz``.
            PhoneError: a file gives other labels, or a package of the extra ``[phone]`` is missing.
        """
        registry = Registry(open_store(self.repository))
        card = registry.verified(Reference.parse(self.model))
        if RESUME not in card.files:
            raise RepositoryError(f"{card.name} version {card.version} has no {RESUME}: register its run again")
        self.out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            for name in (MODEL_FILE, GOLDEN_FILE):
                (work / name).write_bytes(registry.store.read(card, name))
            golden = GoldenPictures.read(work / GOLDEN_FILE)
            stored = read_checkpoint((work / MODEL_FILE).read_bytes(), registry.store.read(card, RESUME))
            module = _OnPhone(load_network(read_config(stored["segm"]), stored["network"]), card.temperature).eval()
            with torch.inference_mode():
                expected = [module(torch.from_numpy(i[None]).float()).numpy().argmax(1) for i in golden.images]
            stem = self.out / f"{card.name}-{card.version}"
            _write_tflite(module, card, list(self._calibration(card, golden)), stem.with_suffix(".tflite"))
            _write_ort(work / MODEL_FILE, stem.with_suffix(".ort"))
        for path, run in ((stem.with_suffix(".tflite"), _tflite), (stem.with_suffix(".ort"), _ort)):
            self._prove(path, run(path), golden, expected)

    def _calibration(self, card: ModelCard, golden: GoldenPictures) -> Iterator[NDArray[np.float32]]:
        if self.data is None:
            yield from (image[None].astype(np.float32) for image in golden.images)
            return
        faces = FaceFolder.open(self.data, "train")
        for i in range(0, len(faces), -(-len(faces) // self.pictures)):
            yield to_size(faces[i].image, card.input_size)[None].astype(np.float32)

    def _prove(
        self, path: Path, run: Callable[[NDArray[np.uint8]], NDArray[Any]], golden: GoldenPictures, expected: list[Any]
    ) -> None:
        said = [run(image[None]).argmax(1) for image in golden.images]
        share = float(np.mean(np.equal(said, expected)))
        print(f"{path}: {path.stat().st_size:,} bytes; {share:.2%} of the labels are those of the version in float32")
        if share < self.least_agreement:
            least = f"{self.least_agreement:.0%}"
            raise PhoneError(f"{path} gives {share:.2%} of the labels of the version, less than {least}")


def _write_ort(model: Path, target: Path) -> None:
    """ONNX Runtime's own format, its graph optimised for phones, of the file cut to its logits."""
    with tempfile.TemporaryDirectory() as folder:
        cut = Path(folder) / target.with_suffix(".onnx").name
        graph = onnx.load(model)
        if not quantised_nodes(graph):
            raise PhoneError(f"{model.name} is in float32: register the run with --precision int8 first")
        part = onnx.utils.Extractor(whole(graph)).extract_model([INPUT], [_LOGITS])
        onnx.save(part, cut)
        command = [sys.executable, "-m", "onnxruntime.tools.convert_onnx_models_to_ort", str(cut)]
        done = subprocess.run(
            [*command, "--optimization_style", "Fixed", "--output_dir", folder], capture_output=True, text=True
        )
        made = cut.with_suffix(".ort")
        if done.returncode or not made.is_file():
            raise PhoneError(f"ONNX Runtime made no .ort file:\n{done.stderr[-2000:]}")
        target.write_bytes(made.read_bytes())


def _write_tflite(module: nn.Module, card: ModelCard, pictures: list[NDArray[np.float32]], target: Path) -> None:
    try:
        import litert_torch
        from ai_edge_quantizer import quantizer, recipe
    except ImportError as error:
        install = "pip install --no-deps -r training/phone.lock, as `make export-phone` does"
        raise PhoneError(f"{error}: {install}") from error
    example = (torch.zeros(1, card.input_size, card.input_size, 3),)
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "float32.tflite"
        litert_torch.convert(module, example).export(str(plain))
        made = quantizer.Quantizer(str(plain))
        made.load_quantization_recipe(recipe.static_wi8_ai8())
        ranges = made.calibrate({"serving_default": [{_CROPS: each} for each in pictures]})
        made.quantize(ranges).export_model(str(target), overwrite=True)


def _tflite(path: Path) -> Callable[[NDArray[np.uint8]], NDArray[Any]]:
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(str(path), num_threads=1).get_signature_runner()
    scale, zero = run.get_input_details()[_CROPS]["quantization"]

    def logits(images: NDArray[np.uint8]) -> NDArray[Any]:
        crops = np.clip(np.rint(images / scale) + zero, -128, 127).astype(np.int8)
        return np.asarray(next(iter(run(**{_CROPS: crops}).values())))

    return logits


def _ort(path: Path) -> Callable[[NDArray[np.uint8]], NDArray[Any]]:
    session = open_session(path)
    return lambda images: np.asarray(session.run([_LOGITS], {INPUT: images})[0])
