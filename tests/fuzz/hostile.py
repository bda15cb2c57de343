"""Strategies of requests that are wrong, or nearly right: options, bodies, forms, heads."""

import base64
import json
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.corpus import broken
from tests.fuzz.target import GOOD

PARSE, BATCH, JOBS, LABELS, INFER = "/v1/parse", "/v1/parse/batch", "/v1/jobs", "/v1/labels", "/v2/models/segm/infer"
WORDS: dict[str, tuple[str, ...]] = {
    "faces": ("auto", "full", "[[1, 1, 30, 30]]"),
    "max_faces": ("2", "100"),
    "classes": ("hair,skin", "l_eye"),
    "groups": ("lips", "eyes,face"),
    "output": ("rle", "png", "polygons,alpha", "overlay", "cutout,confidence", "redact", "npz"),
    "tolerance": ("0", "2.5"),
    "redact": ("blur", "pixelate", "fill"),
    "abstain": ("0.5", "1"),
    "frame": ("image", "crop"),
    "taxonomy": ("bisenet", ""),
    "orientation": ("exif", "raw"),
    "model": ("segm", "segm:1", "segm@champion", ""),
    "deadline_ms": ("9000",),
}
"""Options and words for them that are taken, where they go together."""
_VALUES: dict[str, tuple[Any, ...]] = {
    "faces": ([[0, 0, 48, 32]], [[1.5, 2, 30, 31], [8, 8, 20, 20]]),
    "max_faces": (1,),
    "classes": (["l_eye", "r_eye"],),
    "output": (["rle", "npz"],),
    "tolerance": (0,),
    "abstain": (0.5,),
    "deadline_ms": (8000,),
}
"""Such values as JSON alone has."""
_BOUNDARY = "----fuzz"
_LONGEST_NAME, _LONGEST_WORD = 3000, 5000
"""Characters of a query: httpx sends no more than 64 KiB."""
_HALVES = ("\ud800", "a\udfff")
"""With halves of characters, which JSON can name."""
_NASTY = ("", " ", ",", "\0", *_HALVES * 2, "\uffff", "é", "🦄", "null", "NaN", "1e999", "-0", "0x10", "1_0", "٣", "'")
_LONG = tuple(word * 4500 for word in ("9", "[", "{", "a,"))
_NUMBERS = (0, -1, 1e308, -1e308, 2**31, 2**63, 2**64, 10**400, 5e-324, True, None)

pictures = st.just(GOOD) | st.integers(0, 2**31).map(broken) | st.binary(max_size=100)
_texts = st.sampled_from(_NASTY) | st.text(max_size=30) | st.sampled_from(_LONG)
_leaves = _texts | st.sampled_from(_NUMBERS) | st.integers() | st.floats()
_values = st.recursive(_leaves, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(_texts, inner, max_size=3))
_known = st.sampled_from(sorted(WORDS))
_odd_names = st.sampled_from(("image", "images", "url", "webhook", "id", "inputs")) | _texts


@st.composite
def options(draw: st.DrawFn) -> dict[str, Any]:
    """Options: all as they should be, or some of any kind."""
    if draw(st.booleans()):
        names = draw(st.lists(_known, max_size=3, unique=True))
        return {name: draw(st.sampled_from((*WORDS[name], *_VALUES.get(name, ())))) for name in names}
    names = draw(st.lists(_known | _odd_names, min_size=1, max_size=4, unique=True))
    return {name: draw(st.sampled_from(WORDS.get(name, ("a",))) | _values) for name in names}


def query(members: dict[str, Any]) -> dict[str, str]:
    """Members as the words of a query."""
    return {_word(name)[:_LONGEST_NAME]: _word(value)[:_LONGEST_WORD] for name, value in members.items()}


def _word(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("utf-8", "replace").decode()


def _as_json(value: Any, escaped: bool) -> bytes:
    """JSON that names odd characters, or has them."""
    return json.dumps(value, ensure_ascii=escaped).encode("utf-8", "surrogatepass")


@st.composite
def _nested(draw: st.DrawFn) -> bytes:
    """JSON that goes too deep, ends too early, or says the same twice."""
    opening, closing = draw(st.sampled_from(((b"[", b"]"), (b'{"a":', b"}"), (b'[{"image":', b"}]"))))
    deep = draw(st.sampled_from((1, 50, 999, 20_000)))
    body = opening * deep + b"1" + closing * draw(st.sampled_from((0, deep, deep + 1)))
    whole = (body, b'{"image":%b}' % body, b'{"images":%b}' % body, b'{"faces":%b}' % body, b'{"image":"","image":""}')
    return draw(st.sampled_from(whole))


@st.composite
def _picture_json(draw: st.DrawFn, path: str) -> bytes:
    body, data = draw(options()), base64.b64encode(draw(pictures)).decode()
    if path == PARSE:
        body |= draw(st.sampled_from(({"image": data}, {"image": data}, {"url": "http://127.0.0.1/"}, {})))
    else:
        own = options().map(lambda chosen: {"image": data, **chosen})
        body["images"] = draw(st.lists(st.just(data) | own, max_size=3) | _values)
    return _as_json(body, draw(st.booleans()))


@st.composite
def _inference_json(draw: st.DrawFn) -> bytes:
    """An inference that is nearly right."""
    tensor = {"name": "images", "datatype": "UINT8", "shape": [1, 32, 32, 3], "data": [7] * (32 * 32 * 3)}
    body: dict[str, Any] = {"id": "1", "inputs": [tensor], "outputs": [{"name": "labels"}]}
    of = draw(st.sampled_from((body, body, tensor)))
    for name in draw(st.lists(st.sampled_from(sorted([*of, "parameters"])), max_size=2)):
        of[name] = draw(_texts | _values)
    return _as_json(body, draw(st.booleans()))


@st.composite
def _form(draw: st.DrawFn) -> bytes:
    """A form whose boundaries, heads or end are broken, or not."""
    pieces = []
    for _ in range(draw(st.integers(0, 4))):
        name = draw(st.sampled_from(("image", "image", "image", "faces", "", "\xff", "a" * 5000)))
        called = f'form-data; name="{name}"; filename="{draw(st.sampled_from(("a.png", "", "../x", "a" * 3000)))}"'
        heads = (
            *(f"Content-Disposition: {called}\r\n\r\n",) * 4,
            f"content-disposition:{called}\r\nContent-Type: image/png\r\n\r\n",
            f"Content-Disposition: {called}\r\nContent-Transfer-Encoding: base64\r\n\r\n",
            f'Content-Disposition: form-data; name="{name}"\r\n\r\n',
            "Content-Disposition: attachment\r\n\r\n",
            "Content-Disposition\r\n\r\n",
            ": \r\n\r\n",
            "\r\n",
            "",
        )
        head = draw(st.sampled_from(heads)).encode("latin-1")
        pieces += [f"--{_BOUNDARY}\r\n".encode(), head, draw(pictures), b"\r\n"]
    last = f"--{_BOUNDARY}--"
    ends = (f"{last}\r\n", f"{last}\r\n", last, last[:-1], f"--{_BOUNDARY}\r\n", "", f"{last}x")
    body = b"".join([*pieces, draw(st.sampled_from(ends)).encode()])
    return draw(st.sampled_from((*(body,) * 4, body[: len(body) // 2], body.replace(b"\r\n", b"\n"), b"x" + body)))


_FORM, _JSON = f"multipart/form-data; boundary={_BOUNDARY}", "application/json"
_OTHER_TYPES = (
    "image/png",
    "application/octet-stream",
    "multipart/form-data",
    'multipart/form-data; boundary=""',
    "multipart/form-data; boundary=" + "b" * 300,
    "multipart/form-data; boundary*=utf-8''%ff",
    "multipart/mixed; boundary=x",
    "application/x-www-form-urlencoded",
    "application/json; charset=utf-16",
    "text/plain",
    "IMAGE/",
    "\xff/\xff",
    "",
)
_HEADERS = {
    "Accept": (
        "*/*",
        "application/json",
        "image/png",
        "application/x-npz",
        "application/x-ndjson",
        "a;q=x, */*;q=0",
        ",",
    ),
    "Content-Encoding": ("identity", "gzip", "br", "\xff"),
    "Priority": ("u=7", "u=", "u=-1, i", "u=" + "9" * 5000, "u=7;u=7", "\xff"),
    "Idempotency-Key": ("a", '"a"', "", "a b", "x" * 256, "\xff"),
    "Inference-Header-Content-Length": ("0", "10", "-1", "9" * 5000, "x", "\xb2"),
    "Last-Event-ID": ("0", "9" * 5000, "\xb2", "-1"),
    "X-Request-ID": ("mine", "", "a" * 500, "\xff", "a\tb"),
    "X-Client-Id": ("", "me", "\xff" * 100),
    "traceparent": ("00-" + "0" * 32 + "-" + "0" * 16 + "-01", "\xff", "0" * 3000),
    "Origin": ("https://a", "null", "\xff"),
    "Authorization": ("Bearer", "Bearer \xff", "Basic x"),
    "If-None-Match": ("*", "\xff", ",,"),
}
_METHODS = (*("GET",) * 6, "HEAD", "DELETE", "OPTIONS", "PUT", "PATCH")
_PATHS = (
    LABELS,
    "/v1/models/{}",
    "/v1/jobs/{}",
    "/v1/jobs/{}/result",
    "/v1/jobs/{}/events",
    "/v1/jobs/{}/events",
    "/v2/models/{}",
    "/v2/models/segm/versions/{}",
    "/v2/{}",
    "/v1/drift",
    "/web/{}",
    "/{}",
    "/v1/health/ready",
    "/metrics",
)


_OWN_HEADERS = {"/events": "Last-Event-ID", INFER: "Inference-Header-Content-Length", JOBS: "Idempotency-Key"}
"""Headers that are read at paths with these ends alone."""


@st.composite
def _headers(draw: st.DrawFn, path: str, **chosen: str) -> dict[str, bytes]:
    for end, name in _OWN_HEADERS.items():
        if path.endswith(end) and draw(st.booleans()):
            chosen[name] = draw(st.sampled_from(_HEADERS[name]))
    for name in draw(st.lists(st.sampled_from(sorted(_HEADERS)), max_size=2, unique=True)):
        chosen.setdefault(name, draw(st.sampled_from(_HEADERS[name])))
    return {name: value.encode("latin-1") for name, value in chosen.items()}


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    """What hands something in, as arguments of ``httpx.Client.request``."""
    path = draw(st.sampled_from((PARSE, PARSE, BATCH, JOBS, INFER, INFER)))
    kind = draw(st.sampled_from((_JSON, _JSON if path == INFER else _FORM)) | st.sampled_from(_OTHER_TYPES))
    content: st.SearchStrategy[bytes] = pictures
    if kind == _FORM:
        content = _form()
    elif kind == _JSON:
        body = _inference_json() if path == INFER else _picture_json(path)
        content = body | body | _nested() | st.binary(max_size=60)
    headers = draw(_headers(path, **{"Content-Type": kind}))
    asked = query(draw(options() | st.just({}))) if path != INFER else {}
    return {"method": "POST", "url": path, "content": draw(content), "headers": headers, "params": asked}


@st.composite
def lookups(draw: st.DrawFn) -> dict[str, Any]:
    """What only asks, in the same form."""
    word = draw(st.sampled_from(("segm", "segm:1", "segm@champion", "..", "%2e%2e", "a/b", "%00", "%ff")) | _texts)
    word = _word(word)[:_LONGEST_WORD]
    within = "".join(c if c.isascii() and c.isprintable() and c not in " ?#" else "%FF" for c in word[:_LONGEST_NAME])
    url = draw(st.sampled_from(_PATHS)).format(within)
    return {
        "method": draw(st.sampled_from(_METHODS)),
        "url": url,
        "headers": draw(_headers(url)),
        "params": {"model": word},
    }
