"""Pictures through everything that a service has: every way in, every output, every way to break off."""

import base64
import json
import socket
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import httpx
import numpy as np
import tritonclient.http as triton
from fpan._proto.faceparsing.v1 import face_parsing_pb2 as pb
from fpan._proto.faceparsing.v1 import face_parsing_pb2_grpc
from fpan.serve.transports.http.openapi.oip import HEADER_LENGTH

from tests.support.helpers_images import file_of
from tests.support.marker import CROP, Marker
from tests.support.service import Service

PATIENCE_S = 60.0
FULL = {"faces": "full"}
FOUND = "rle,png,confidence,polygons,alpha,npz"
BOXES = {"faces": "[[20, 20, 220, 240]]"}
MAX_BATCH = 8
"""Of the service, by default."""
ALIKE = 4
"""The same request at the same time."""


class Tour:
    """What one caller asks."""

    def __init__(self, service: Service, marker: Marker, key: str, url: str, *, full: bool) -> None:
        """Begins.

        Args:
            service: what is asked.
            marker: the pictures.
            key: of a caller who may do everything.
            url: where one of the pictures can be fetched.
            full: every picture goes every way, and not just some each way.
        """
        self.problems: list[str] = []
        """What was told of requests that came to nothing."""
        self._service = service
        self._files = marker.files
        self._some = list(marker.files) if full else []
        self._marker = marker
        self._headers = {"Authorization": f"Bearer {key}"}
        self._client = httpx.Client(base_url=service.url, headers=self._headers, timeout=PATIENCE_S)
        self._url = url

    def close(self) -> None:
        """Ends the caller's connections."""
        self._client.close()

    def parse(self) -> None:
        """Everything but jobs."""
        idle = self._in_flight()
        self._ways_in()
        self._outputs()
        self._batches()
        self._grpc()
        self._oip()
        self._alike()
        self._broken()
        self._broken_off()
        self._until(lambda: self._in_flight() == idle)
        # Each network computes one batch after the other: with this one it has done those that were given up.
        self._parse(content=file_of("png", np.zeros((CROP, CROP, 3), np.uint8)), params=FULL)
        self._parse(content=file_of("png", np.zeros((CROP, CROP, 3), np.uint8)))

    def fill(self) -> None:
        """Leaves no memory that networks get their inputs in without a picture; what was there before is gone now."""
        for crops in (1, MAX_BATCH):
            body, headers = self._inference(crops, binary=True)
            self._ok(self._client.post("/v2/models/segm/infer", content=body, headers=headers))

    def jobs(self) -> None:
        """Jobs: handed in, parsed, fetched, deleted, cancelled."""
        options = [{"image": self._base64("png"), "output": "overlay"}, self._base64("jpeg")]
        bodies: list[dict[str, Any]] = [{"files": self._parts("png", "large png")}, {"json": {"images": options}}]
        for body in bodies:
            job = self._handed_in(params={**BOXES, "output": "cutout,rle"}, **body)
            self._until(lambda job=job: self._state(job) == "succeeded")
            for path in ("", "/result", "/events"):
                self._ok(self._client.get(f"/v1/jobs/{job}{path}"))
            self._ok(self._client.delete(f"/v1/jobs/{job}"))
        self._ok(self._client.delete(f"/v1/jobs/{self._handed_in(files=self._parts('large png', 'tiff', 'jpeg'))}"))
        kept = self._handed_in(files=self._parts("png"), params={**FULL, "output": "cutout"})
        self._until(lambda: self._state(kept) == "succeeded")  # and its result stays for its time
        self._refused(self._client.post("/v1/jobs", files=self._parts("png"), params={"faces": "no"}))
        self._break_off_parts("/v1/jobs", halves=1)

    def metrics(self) -> str:
        """All that the service tells of its traffic."""
        return "".join(self._ok(self._client.get(path)).text for path in ("/metrics", "/v1/drift"))

    def _ways_in(self) -> None:
        self._parse(content=self._files["png"], params=FULL)
        self._parse(content=self._files["large png"])  # which the detector gets pixel by pixel
        self._parse(files=self._parts("large png"), params=FULL)
        self._parse(json={"image": self._base64("large png"), "faces": [[20, 20, 220, 240]]})
        self._parse(json={"url": self._url, "faces": "full", "classes": ["skin"]})
        self._parse(content=self._files["tiff"], headers={"Priority": "u=7"}, params={**FULL, "abstain": "0.5"})
        for name in self._some:
            self._parse(content=self._files[name])
            self._parse(content=self._files[name], params=BOXES)
            self._parse(files=self._parts(name))
            self._parse(json={"image": self._base64(name), "faces": [[20, 20, 220, 240]]})

    def _outputs(self) -> None:
        for name in self._some or ["jpeg"]:
            data = self._files[name]
            for where in ({"faces": "full", "frame": "crop"}, BOXES):
                self._parse(content=data, params={**where, "output": FOUND})
            for output in ("overlay,cutout", "redact"):
                self._parse(content=data, params={**BOXES, "output": output})
            for output in ("png", "overlay", "cutout", "redact"):
                self._parse(content=data, params={**BOXES, "output": output}, headers={"Accept": "image/png"})

    def _batches(self) -> None:
        """As many crops as go to a network together, which come to it in shared memory."""
        for accept in ("application/json", "application/x-ndjson"):
            self._ok(
                self._client.post(
                    "/v1/parse/batch",
                    params={**FULL, "output": "rle,cutout", "abstain": "0.1"},
                    headers={"Accept": accept},
                    files=self._parts("png", "tiff", "jpeg", *self._some),
                )
            )
        images = [self._base64(name) for name in ("png", "jpeg")]
        self._ok(self._client.post("/v1/parse/batch", json={"images": images, **BOXES}))

    def _grpc(self) -> None:
        metadata = [("authorization", self._headers["Authorization"])]
        unbounded = [("grpc.max_receive_message_length", -1)]
        with grpc.insecure_channel(f"127.0.0.1:{self._service.grpc_port}", unbounded) as channel:
            stub = face_parsing_pb2_grpc.FaceParsingStub(channel)
            everything = [output for output in pb.Output.values() if output not in (0, pb.OUTPUT_REDACT)]
            options = pb.ParseOptions(mode=pb.FACES_MODE_FULL, outputs=everything)
            for name in self._some or ["jpeg"]:
                data = self._files[name]
                stub.Parse(pb.ParseRequest(image=data, options=options), metadata=metadata, timeout=PATIENCE_S)
                cut = pb.ParseRequest(image=data[: len(data) // 2], options=options)
                try:
                    stub.Parse(cut, metadata=metadata, timeout=PATIENCE_S)
                except grpc.RpcError as error:
                    self.problems.append(f"{error.code()} {error.details()} {error.trailing_metadata()}")
                else:
                    raise AssertionError("half a picture was parsed")
            stub.Parse.future(pb.ParseRequest(image=self._files["large png"]), metadata=metadata).cancel()

    def _oip(self) -> None:
        path = "/v2/models/segm/infer"
        for crops, binary in ((1, True), (1, False), (MAX_BATCH, True)):
            body, headers = self._inference(crops, binary=binary)
            self._ok(self._client.post(path, content=body, headers=headers))
            for broken in (body[:-7], body[7:]):
                self._refused(self._client.post(path, content=broken, headers=headers))
            self._give_up(path, body, headers)

    def _alike(self) -> None:
        def ask(params: dict[str, str]) -> str:
            return self._parse(content=self._files["png"], params=params).headers["cache-status"]

        with ThreadPoolExecutor(ALIKE) as pool:
            list(pool.map(ask, [{**FULL, "output": "overlay"}] * ALIKE + [{**FULL, "classes": "nose"}] * ALIKE))
        self._until(lambda: "hit" in ask({**FULL, "classes": "nose"}))  # it is put there once it was told

    def _broken(self) -> None:
        post, json_type = self._client.post, {"Content-Type": "application/json"}
        for name, data in self._files.items():
            half, text = data[: len(data) // 2], self._base64(name)
            self._refused(post("/v1/parse", content=half, params=FULL))
            self._refused(post("/v1/parse", files={"image": ("a.png", half)}))
            self._refused(post("/v1/parse", content=data[len(data) // 2 :]))
            self._refused(post("/v1/parse", json={"image": text[:2000] + "?" + text[2000:]}))
            self._refused(post("/v1/parse", content=data, headers=json_type))
            self._refused(post("/v1/parse", content=data, headers={"Content-Type": "multipart/form-data; boundary=a"}))
            self._refused(post("/v1/parse", content=b'{"image": "' + text.encode(), headers=json_type))
            self._refused(post("/v1/parse/batch", json={"images": [text, 3]}))
            told = self._ok(post("/v1/parse/batch", files=[("image", ("a.png", half)), *self._parts("jpeg")]))
            self.problems.append(json.dumps(told.json()["results"][0]["problem"]))
        body, headers = self._multipart("large png")
        self._refused(post("/v1/parse", content=body[: len(body) // 2], headers=headers))
        self._refused(post("/v1/parse", json={"url": f"{self._url}.gone"}))
        with self._connection() as connection:  # as HTTP it makes no sense at all
            connection.sendall(self._files["png"])
            self.problems.append(connection.recv(4096).decode("latin-1"))

    def _broken_off(self) -> None:
        for name in ("large png", "png"):
            data = self._files[name]
            for sent in (len(data), len(data) // 2):
                self._give_up("/v1/parse?faces=full&output=overlay", data, {"Content-Type": "image/png"}, sent)
        self._break_off_parts("/v1/parse/batch", halves=2)
        self._break_off_parts("/v1/parse", halves=1)

    def _break_off_parts(self, path: str, halves: int) -> None:
        body, headers = self._multipart("large png", "png")
        for half in range(1, halves + 1):
            self._give_up(path, body, headers, half * len(body) // 2)

    def _multipart(self, *names: str) -> tuple[bytes, dict[str, str]]:
        request = httpx.Request("POST", self._service.url, files=self._parts(*names))
        return request.read(), {"Content-Type": request.headers["content-type"]}

    def _handed_in(self, **request: Any) -> str:
        return str(self._ok(self._client.post("/v1/jobs", **request)).json()["id"])

    def _in_flight(self) -> str:
        return next(line for line in self.metrics().splitlines() if line.startswith("fpan_requests_in_flight "))

    def _give_up(self, path: str, body: bytes, headers: Mapping[str, str], sent: int | None = None) -> None:
        """Sends a request, or a part of it, and leaves."""
        lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in {**self._headers, **headers}.items()]
        with self._connection() as connection:
            connection.sendall("\r\n".join([*lines, "", ""]).encode() + body[:sent])

    def _connection(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._service.port), PATIENCE_S)

    def _inference(self, crops: int, *, binary: bool) -> tuple[bytes, dict[str, str]]:
        batch = np.stack([self._marker.crop] * crops)
        given = triton.InferInput("images", [crops, CROP, CROP, 3], "UINT8")
        given.set_data_from_numpy(batch, binary_data=binary)
        body, length = triton.InferenceServerClient.generate_request_body([given])
        return body, {HEADER_LENGTH: str(length)} if binary else {"Content-Type": "application/json"}

    def _parts(self, *names: str) -> list[tuple[str, tuple[str, bytes]]]:
        return [("image", (self._marker.address, self._files[name])) for name in names]

    def _base64(self, name: str) -> str:
        return base64.b64encode(self._files[name]).decode()

    def _parse(self, **request: Any) -> httpx.Response:
        return self._ok(self._client.post("/v1/parse", **request))

    def _state(self, job: str) -> str:
        told = self._ok(self._client.get(f"/v1/jobs/{job}")).json()
        assert told["state"] not in ("failed", "cancelled"), told
        return str(told["state"])

    def _until(self, happened: Any) -> None:
        until = time.monotonic() + PATIENCE_S
        while not happened():
            assert time.monotonic() < until
            time.sleep(0.02)

    def _ok(self, answer: httpx.Response) -> httpx.Response:
        assert answer.is_success, "\n".join([answer.text, *self._service.lines[-80:]])
        return answer

    def _refused(self, answer: httpx.Response) -> None:
        assert answer.is_client_error, (answer.status_code, answer.request.url, answer.text)
        self.problems.append(answer.text)
