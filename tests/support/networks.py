"""Small networks with the interface of `segm`, and a model repository made of them."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from fpan.contract import ModelCard, ModelRepository
from fpan.contract.card import Precision, Tensor
from fpan.contract.network import halved, whole
from fpan.registry import FolderStore, Registry
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from tests.support.service import ROOT

SHIPPED = ROOT / "model_repository"
SIZE = 32
CLASSES = 6

Arrays = dict[str, NDArray[np.generic]]


def pictures(count: int, seed: int = 0, size: int = SIZE) -> NDArray[np.uint8]:
    """Noise, uint8 (count, size, size, 3), no value zero."""
    return np.random.default_rng(seed).integers(1, 255, (count, size, size, 3), dtype=np.uint8)


def echo() -> onnx.ModelProto:
    """Every output says exactly what the input was: see :func:`echoed`."""
    return _model(
        [
            _node("Cast", ["images"], "pixels", to=TensorProto.FLOAT),
            _node("Split", ["pixels"], "red green blue", axis=3, num_outputs=3),
            _node("Squeeze", ["red", "last"], "flat_red"),
            _node("Sub", ["most", "flat_red"], "inverse"),
            _node("Cast", ["inverse"], "labels", to=TensorProto.UINT8),
            _node("Squeeze", ["green", "last"], "flat_green"),
            _node("Cast", ["flat_green"], "confidence", to=TensorProto.UINT8),
            _node("Transpose", ["blue"], "upright", perm=[0, 3, 1, 2]),
            _node("MaxPool", ["upright"], "pooled", kernel_shape=[2, 2], strides=[2, 2]),
            _node("Mul", ["pooled", "factors"], "logits"),
        ],
        last=np.array([3]),
        most=np.array(255, np.float32),
        factors=_factors(),
    )


def echoed(images: NDArray[np.uint8]) -> Arrays:
    """What :func:`echo` computes, by numpy."""
    n, size = images.shape[:2]
    blue = images[..., 2].astype(np.float32).reshape(n, 1, size // 2, 2, size // 2, 2).max((3, 5))
    return {"labels": 255 - images[..., 0], "confidence": images[..., 1], "logits": blue * _factors()}


def convolutions(size: int = SIZE, width: int = 8, classes: int = CLASSES) -> onnx.ModelProto:
    """A network that computes as real ones do: convolutions, upsampling, softmax, argmax."""
    rng = np.random.default_rng(5)
    return _model(
        [
            _node("Cast", ["images"], "pixels", to=TensorProto.FLOAT),
            _node("Transpose", ["pixels"], "upright", perm=[0, 3, 1, 2]),
            _node("Mul", ["upright", "scale"], "scaled"),
            _node("Conv", ["scaled", "w0"], "features", strides=[2, 2], pads=[1] * 4),
            _node("Relu", ["features"], "active"),
            _node("Conv", ["active", "w1"], "logits", pads=[1] * 4),
            _node("Resize", ["logits", "", "double"], "full", mode="linear"),
            _node("ArgMax", ["full"], "classes", axis=1, keepdims=0),
            _node("Cast", ["classes"], "classes_float", to=TensorProto.FLOAT),
            _node("Cast", ["classes_float"], "labels", to=TensorProto.UINT8),
            _node("Softmax", ["full"], "probabilities", axis=1),
            _node("ReduceMax", ["probabilities", "channels"], "largest", keepdims=0),
            _node("Mul", ["largest", "most"], "scaled_largest"),
            _node("Cast", ["scaled_largest"], "confidence", to=TensorProto.UINT8),
        ],
        size,
        classes,
        scale=np.array(1 / 255, np.float32),
        w0=rng.normal(0, 0.4, (width, 3, 3, 3)).astype(np.float32),
        w1=rng.normal(0, 0.4, (classes, width, 3, 3)).astype(np.float32),
        double=np.array([1, 1, 2, 2], np.float32),
        channels=np.array([1]),
        most=np.array(255, np.float32),
    )


def saying(label: int, size: int = SIZE, classes: int = CLASSES) -> onnx.ModelProto:
    """Gives every pixel the same label, with certainty."""
    return _model(
        [
            _node("Cast", ["images"], "pixels", to=TensorProto.FLOAT),
            _node("ReduceMax", ["pixels", "last"], "largest", keepdims=0),
            _node("Mul", ["largest", "none"], "nothing"),
            _node("Add", ["nothing", "label"], "everywhere"),
            _node("Cast", ["everywhere"], "labels", to=TensorProto.UINT8),
            _node("Add", ["nothing", "most"], "certain"),
            _node("Cast", ["certain"], "confidence", to=TensorProto.UINT8),
            _node("Unsqueeze", ["nothing", "first"], "upright"),
            _node("MaxPool", ["upright"], "pooled", kernel_shape=[2, 2], strides=[2, 2]),
            _node("Add", ["pooled", "scores"], "logits"),
        ],
        size,
        classes,
        last=np.array([3]),
        first=np.array([1]),
        none=np.array(0, np.float32),
        label=np.array(label, np.float32),
        most=np.array(255, np.float32),
        scores=np.float32([[[[9.0 if c == label else -9.0]] for c in range(classes)]]),
    )


def fragile() -> onnx.ModelProto:
    """Like :func:`echo`, but what `logits` alone needs fails while it runs, unless all pixels are zero."""
    model = echo()
    model.graph.node.pop()
    for node in (
        _node("ReduceMax", ["pixels"], "largest", keepdims=0),
        _node("Cast", ["largest"], "whole", to=TensorProto.INT64),
        _node("Add", ["whole", "side"], "length"),
        _node("Range", ["none", "length", "one"], "long"),
        _node("Cast", ["long"], "vector", to=TensorProto.FLOAT),
        _node("MatMul", ["flat_red", "vector"], "misfit"),  # rows of SIZE, a vector of SIZE + the largest pixel
        _node("ReduceSum", ["misfit"], "nothing", keepdims=0),
        _node("Add", ["pooled", "nothing"], "moved"),
        _node("Mul", ["moved", "factors"], "logits"),
    ):
        model.graph.node.append(node)
    for name, value in {"none": 0, "one": 1, "side": SIZE}.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(value, np.int64), name))
    return model


class _Noise(CalibrationDataReader):
    """Three pictures that ranges are taken from."""

    def __init__(self, size: int) -> None:
        self._left = [{"images": each[None]} for each in pictures(3, size=size)]

    def get_next(self) -> Arrays | None:
        return self._left.pop() if self._left else None


def in_int8(model: onnx.ModelProto) -> onnx.ModelProto:
    """A network of :func:`convolutions` in eight bits, as `fpan-train register` writes it."""
    named = whole(halved(model))
    size = named.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(named, path)
        quantize_static(
            path, path, _Noise(size), quant_format=QuantFormat.QDQ, per_channel=True,
            op_types_to_quantize=["Conv", "Relu"], activation_type=QuantType.QUInt8,
            extra_options={"AddQDQPairToWeight": True, "QuantizeBias": False, "QDQKeepRemovableActivations": True},
        )  # fmt: skip
        return halved(onnx.load(path))


def publish(
    root: Path,
    name: str,
    model: onnx.ModelProto | bytes,
    version: int | None = 1,
    size: int = SIZE,
    classes: int = CLASSES,
    precision: Precision = "fp32",
) -> ModelCard:
    """Writes a version into a model repository; the next one where ``version`` is None."""
    card = ModelCard(
        name=name,
        version=1,
        task="segmentation",
        title="a network for tests",
        inputs=(Tensor(name="images", dtype="UINT8", shape=(size, size, 3)),),
        outputs=(
            Tensor(name="labels", dtype="UINT8", shape=(size, size)),
            Tensor(name="confidence", dtype="UINT8", shape=(size, size)),
            Tensor(name="logits", dtype="FP32", shape=(classes, size // 2, size // 2)),
        ),
        on_demand=("logits",),
        input_size=size,
        precision=precision,
        weights_licence="Apache-2.0",
        files={},
    )
    with tempfile.NamedTemporaryFile() as file:
        file.write(model if isinstance(model, bytes) else model.SerializeToString())
        file.flush()
        registry = Registry(FolderStore(root, create=True))
        return registry.publish(card, {"model.onnx": Path(file.name)}, version=version)


def publish_saying(
    root: Path, label: int, files: Mapping[str, Path] | None = None, name: str = "segm", size: int = SIZE
) -> ModelCard:
    """Writes the next version of a model: :func:`saying` with the classes, alignment and names of the shipped one."""
    shipped = ModelRepository(SHIPPED)
    like = shipped.card("segm", shipped.latest("segm"))
    classes = like.outputs[2].shape[0]
    tensors = {tensor.name: tensor for tensor in like.outputs}
    card = like.model_copy(
        update={
            "name": name,
            "title": f"says {label}",
            "inputs": (like.inputs[0].model_copy(update={"shape": (size, size, 3)}),),
            "outputs": (
                *(tensors[name].model_copy(update={"shape": (size, size)}) for name in ("labels", "confidence")),
                tensors["logits"].model_copy(update={"shape": (classes, size // 2, size // 2)}),
            ),
            "input_size": size,
            "files": {},
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(saying(label, size, classes).SerializeToString())
        return Registry(FolderStore(root, create=True)).publish(card, {"model.onnx": path, **(files or {})})


def _factors() -> NDArray[np.float32]:
    return np.arange(1, CLASSES + 1, dtype=np.float32).reshape(1, CLASSES, 1, 1) / 4


def _node(kind: str, inputs: Sequence[str], outputs: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, outputs.split(), name=f"make_{outputs.split()[0]}", **attributes)


def _model(
    nodes: Sequence[onnx.NodeProto], size: int = SIZE, classes: int = CLASSES, **constants: NDArray[np.generic]
) -> onnx.ModelProto:
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "small",
        [info("images", TensorProto.UINT8, ["batch", size, size, 3])],
        [
            info("labels", TensorProto.UINT8, ["batch", size, size]),
            info("confidence", TensorProto.UINT8, ["batch", size, size]),
            info("logits", TensorProto.FLOAT, ["batch", classes, size // 2, size // 2]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model
