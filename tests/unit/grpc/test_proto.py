"""The gRPC contract: its generated code is fresh, and no change of it breaks callers."""

import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.service import ROOT

PROTO = ROOT / "proto"
CONTRACT = Path("faceparsing/v1/face_parsing.proto")


def load_generator():
    spec = importlib.util.spec_from_file_location("proto_generate", PROTO / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generator = load_generator()


@pytest.fixture
def changed(tmp_path):
    """Runs buf's check of breaking changes on a copy of the contract in which one text stands for another."""
    shutil.copytree(PROTO, tmp_path / "proto")
    contract = tmp_path / "proto" / CONTRACT

    def check(old, new):
        text = contract.read_text()
        assert text.count(old) == 1
        contract.write_text(text.replace(old, new))
        command = [generator._buf_path(), "breaking", "--against", PROTO / "baseline.txtpb"]
        return subprocess.run(command, cwd=tmp_path / "proto", capture_output=True, text=True)

    return check


def files(folder):
    return {p.relative_to(folder): p.read_text() for p in folder.rglob("*") if p.suffix in {".py", ".pyi"}}


def test_committed_code_is_what_the_contract_generates(tmp_path):
    generator.generate(tmp_path / "fresh")
    assert files(tmp_path / "fresh") == files(generator.GENERATED), "run `make proto` and commit what it writes"


def test_contract_is_well_formed_and_every_member_has_a_comment():
    generator.buf("lint")
    generator.buf("format", "--diff", "--exit-code")


def test_contract_breaks_no_caller_of_the_baseline():
    generator.buf("breaking", "--against", generator.BASELINE)


def test_baseline_knows_all_of_the_contract(tmp_path):
    generator.buf("build", "--exclude-source-info", "-o", tmp_path / "now.binpb")
    generator.buf("build", generator.BASELINE, "-o", tmp_path / "baseline.binpb")
    now, baseline = (parse_set(tmp_path / f"{name}.binpb") for name in ("now", "baseline"))
    assert now == baseline, "run `make proto` and commit the baseline"


def parse_set(path):
    from google.protobuf import descriptor_pb2

    # As protobuf's own message: buf's extension of it (its notes on the image) falls into the unknown fields.
    found = descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes())
    return {
        file.name: [m.SerializeToString() for m in (*file.message_type, *file.enum_type, *file.service)]
        for file in found.file
    }


def test_adding_a_field_is_allowed(changed):
    done = changed("bytes confidence_png = 9;", "bytes confidence_png = 9;\n  bytes depth_png = 99;")
    assert done.returncode == 0, done.stdout


def test_adding_a_call_is_allowed(changed):
    call = "rpc Parse(ParseRequest) returns (ParseResponse);"
    assert (
        changed(call, f"{call}\n  rpc ParseVideo(stream ParseRequest) returns (stream ParseResponse);").returncode == 0
    )


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("  bytes confidence_png = 9;\n", "", "was deleted"),
        ("bytes confidence_png = 9;", "bytes confidence_png = 98;", "was deleted"),
        ("bytes confidence_png = 9;", "string confidence_png = 9;", "changed type"),
        ("uint64 area = 3;", "uint32 area = 3;", "changed type"),
        ("repeated string notes = 6;", "string notes = 6;", "changed cardinality"),
        ("float occluded = 5;", "float covered = 5;", "changed name"),
        ("FACES_MODE_FULL = 2;", "FACES_MODE_FULL = 3;", "was deleted"),
        ("rpc Parse(ParseRequest)", "rpc Segment(ParseRequest)", "was deleted"),
    ],
)
def test_a_change_that_breaks_callers_is_found(changed, old, new, complaint):
    done = changed(old, new)
    assert done.returncode != 0
    assert complaint in done.stdout


def test_generator_refuses_a_breaking_change_and_leaves_everything_as_it_was(tmp_path):
    shutil.copytree(PROTO, tmp_path / "proto")
    contract = tmp_path / "proto" / CONTRACT
    contract.write_text(contract.read_text().replace("  bytes confidence_png = 9;\n", ""))
    before = (tmp_path / "proto" / "baseline.txtpb").read_text()
    done = subprocess.run(
        [generator.sys.executable, tmp_path / "proto" / "generate.py"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "was deleted" in done.stderr
    assert (tmp_path / "proto" / "baseline.txtpb").read_text() == before
    assert not (tmp_path / "service").exists()


def test_generated_code_is_installed_under_the_names_of_the_contract():
    from fpan._proto.faceparsing.v1 import face_parsing_pb2

    assert face_parsing_pb2.DESCRIPTOR.name == CONTRACT.as_posix()
    assert face_parsing_pb2.DESCRIPTOR.package == "faceparsing.v1"
