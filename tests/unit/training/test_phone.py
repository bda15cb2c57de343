"""What is written for phones, as far as it can be told without the packages of the extra `[phone]`."""

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from fpan.contract import ModelCard, RepositoryError
from fpan_training.release import phone
from fpan_training.release.phone import ExportPhone, PhoneError

from tests.support.networks import convolutions, in_int8, pictures, publish


def test_ort_says_what_the_version_in_int8_says(tmp_path: Path) -> None:
    model, target = tmp_path / "model.onnx", tmp_path / "small.ort"
    onnx.save(in_int8(convolutions()), model)
    phone._write_ort(model, target)
    images = pictures(1)
    (expected,) = onnxruntime.InferenceSession(model).run(["logits"], {"images": images})
    np.testing.assert_allclose(phone._ort(target)(images), expected, atol=0.05 * np.abs(expected).max())


def test_a_version_in_float32_has_no_ort_file(tmp_path: Path) -> None:
    onnx.save(convolutions(), tmp_path / "model.onnx")
    with pytest.raises(PhoneError, match="register the run with --precision int8 first"):
        phone._write_ort(tmp_path / "model.onnx", tmp_path / "small.ort")


def test_missing_packages_are_named_with_what_installs_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "litert_torch", None)
    card = ModelCard.model_construct(input_size=32)
    with pytest.raises(PhoneError, match=r"-r training/phone\.lock"):
        phone._write_tflite(torch.nn.Identity(), card, [], tmp_path / "small.tflite")


def test_a_version_that_does_not_give_its_checkpoint_back_is_refused(tmp_path: Path) -> None:
    publish(tmp_path / "models", "segm", convolutions())
    with pytest.raises(RepositoryError, match=r"segm version 1 has no resume\.npz: register its run again"):
        ExportPhone(repository=str(tmp_path / "models"), out=tmp_path / "out")()
