"""What is told of a face is described once: every other form has the same members."""

from dataclasses import fields

import numpy as np
import pyarrow as pa
import pytest
from fpan._proto.faceparsing.v1 import face_parsing_pb2 as pb
from fpan.bulk.parquet import COLUMNS
from fpan.client import types
from fpan.contract.face import FACTS, FaceFacts, Part, Pose
from fpan.contract.messages import read_fields, write_fields
from fpan.serve.transports.http.openapi.schema import Face as SchemaFace

POINTS = np.array([[1.25, 2], [3, 4], [5, 6], [7, 8], [9, 10.25]], np.float32)
FACE = FaceFacts(
    id=3,
    box=(1.5, 2.25, 30.0, 31.0),
    score=0.75,
    landmarks=POINTS,
    pose=Pose(10.5, -3.0, 0.5),
    occluded=0.125,
    sharpness=0.5,
    cut_by_crop=("hair", "cloth"),
    cut_by_image=True,
    parts=(Part(1, "skin", 120, (1, 2, 30, 31), 0.875), Part(17, "hair", 9, (0, 0, 5, 5), 0.5)),
)
BARE = FaceFacts(
    id=0, box=(0, 0, 1, 1), score=None, landmarks=None, occluded=0, cut_by_crop=(), cut_by_image=False, parts=()
)
NAMES = [each.name for each in fields(FaceFacts)]


def same(one: FaceFacts, other: FaceFacts) -> None:
    for name in NAMES:
        ours, theirs = getattr(one, name), getattr(other, name)
        assert np.array_equal(ours, theirs) if name == "landmarks" and ours is not None else ours == theirs, name


@pytest.mark.parametrize("face", [FACE, BARE], ids=["whole", "bare"])
def test_json_and_messages_carry_every_member_there_and_back(face):
    same(FACTS.validate_python(face.as_json()), face)
    message = pb.Face()
    write_fields(message, face)
    same(FACTS.validate_python(read_fields(pb.Face.FromString(message.SerializeToString()), FaceFacts)), face)


def test_json_is_rounded_as_documented():
    told = FaceFacts(**{**vars(FACE), "box": (1 / 3,) * 4, "score": 2 / 3, "pose": Pose(1 / 3, 0, 0)}).as_json()
    assert (told["box"], told["score"], told["pose"]["yaw"]) == ([0.33] * 4, 0.6667, 0.3)
    assert list(told) == NAMES


def test_the_message_has_the_members_under_the_same_names():
    known = {field.name for field in pb.Face.DESCRIPTOR.fields}
    assert {*NAMES} <= known
    for name, kind in (("pose", Pose), ("parts", Part)):
        described = pb.Face.DESCRIPTOR.fields_by_name[name].message_type
        assert [field.name for field in described.fields] == [each.name for each in fields(kind)]


def test_the_openapi_schema_has_them_too():
    assert {*NAMES} <= {*SchemaFace.model_fields}
    for name in NAMES:
        assert SchemaFace.model_json_schema()["properties"][name].get("description") or name in ("id", "box"), name


def test_the_client_has_them_too():
    assert issubclass(types.Face, FaceFacts)


def test_parquet_has_a_column_for_each_and_one_for_each_angle():
    [struct] = [kind.value_type for name, kind in COLUMNS if name == "faces"]
    assert isinstance(struct, pa.StructType)
    columns = [struct.field(i).name for i in range(struct.num_fields)]
    kinds = {name: str(struct.field(name).type) for name in ("score", "occluded", "sharpness", "yaw", "cut_by_image")}
    assert kinds == {**dict.fromkeys(kinds, "float"), "cut_by_image": "bool"}
    assert columns == [c for name in NAMES for c in (("yaw", "pitch", "roll") if name == "pose" else (name,))]
