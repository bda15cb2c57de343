"""The options of a parse are the same in HTTP, gRPC and the Python client: one list holds the others."""

from dataclasses import fields

from fpan._proto.faceparsing.v1 import face_parsing_pb2 as pb
from fpan.client import Options
from fpan.serve.api.options import _READERS, OUTPUTS, ParseOptions
from fpan.serve.transports.http.openapi.options import OPTIONS

NAMES = {each.name for each in fields(ParseOptions)}
FACES_OF_GRPC = {"mode", "boxes"}
"""``faces`` as a choice of messages."""
FORMER_OF_GRPC = {"confidence"}
"""A flag that the output of that name has followed."""
OUTPUTS_OF_GRPC = {"rle", "png"}
"""Its label maps, always there."""


def test_http_reads_and_describes_each():
    assert {*_READERS} == NAMES == {option.name for option in OPTIONS}


def test_the_client_has_each_and_asks_for_outputs_beside():
    assert {*Options.__optional_keys__} == NAMES - {"output"}


def test_grpc_has_each_and_its_deadline_in_the_call():
    known = {field.name for field in pb.ParseOptions.DESCRIPTOR.fields} - FORMER_OF_GRPC
    assert known - FACES_OF_GRPC - {"outputs"} == NAMES - {"faces", "output", "deadline_ms"}
    assert known >= FACES_OF_GRPC | {"outputs"}


def test_grpc_has_the_same_outputs():
    words = {name.removeprefix("OUTPUT_").lower() for name, _ in pb.Output.items()} - {"unspecified"}
    assert words == {*OUTPUTS} - OUTPUTS_OF_GRPC
