"""The OpenAPI document as a page for people: plain HTML without a script, whatever of it is text safely escaped.

Viewers of the field (Swagger UI, RapiDoc, Scalar) are left aside: they need inline styles and write HTML from strings,
which the policy of this server's pages forbids, and weigh one to three megabytes.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from xml.etree.ElementTree import Element, tostring

_CODE = re.compile(r"`+([^`]+)`+")
_BOUNDS = (
    ("minimum", "at least {}"),
    ("maximum", "at most {}"),
    ("minLength", "at least {} characters"),
    ("maxLength", "at most {} characters"),
    ("minItems", "at least {} items"),
    ("maxItems", "at most {} items"),
    ("pattern", "matches {}"),
    ("default", "default {}"),
)
"""What is said of the bounds of a value, by the word of JSON Schema."""
Node = Element | str


def render(document: Mapping[str, Any]) -> bytes:
    """The page, in UTF-8.

    Args:
        document: of OpenAPI 3.1, whose references are all within it.
    """
    info = document["info"]
    head = _element(
        "head",
        _element("meta", charset="utf-8"),
        _element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        _element("meta", name="color-scheme", content="light dark"),
        _element("title", f"{info['title']}: HTTP interface"),
        _element("link", rel="icon", href="web/icon.svg", type="image/svg+xml"),
        _element("link", rel="stylesheet", href="web/css/base.css"),
        _element("link", rel="stylesheet", href="web/css/docs.css"),
    )
    brand = _element("a", _element("img", src="web/icon.svg", alt="", width="30", height="30"), info["title"])
    brand.attrib |= {"class": "brand", "href": "./"}
    page = _Page(document)
    main = _element(
        "main",
        _element("h1", "HTTP interface"),
        _element("p", f"Version {info['version']}. {info['description']} The same as ", _link("openapi.json"), "."),
        *page.keys(),
        page.contents(),
        *page.operations(),
        *page.webhooks(),
        *page.schemas(),
    )
    html = _element("html", head, _element("body", _element("header", brand, **{"class": "top"}), main), lang="en")
    written: bytes = tostring(html, encoding="utf-8", method="html")
    return b"<!doctype html>\n" + written


class _Page:
    """What the page shows of one document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._by_tag: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                self._by_tag.setdefault(operation["tags"][0], []).append((method.upper(), path, operation))

    def keys(self) -> Iterator[Element]:
        """How callers show who they are."""
        schemes = self._document["components"]["securitySchemes"].values()
        ways = [
            f"{each['name']}: KEY" if each["type"] == "apiKey" else f"Authorization: {each['scheme'].title()} KEY"
            for each in schemes
        ]
        parts: list[Node] = ["Where the server wants an API key, it comes in one of these headers: "]
        for way in ways:
            parts += [_element("code", way), ", "]
        yield _element("p", *parts[:-1], ".")

    def contents(self) -> Element:
        """Every operation, with a link to it."""
        items: list[Element] = []
        for tag in self._document["tags"]:
            items.append(_element("dt", tag["name"]))
            for method, path, operation in self._by_tag.get(tag["name"], ()):
                where = _element("a", f"{method} {path}", href=f"#{operation['operationId']}")
                items.append(_element("dd", where, f" {operation['summary']}"))
        return _element("nav", _element("dl", *items), **{"aria-label": "Operations"})

    def operations(self) -> Iterator[Element]:
        """A section for each tag."""
        for tag in self._document["tags"]:
            yield _element("h2", tag["name"])
            yield _element("p", *_text(tag["description"]))
            for method, path, operation in self._by_tag.get(tag["name"], ()):
                yield self._operation(method, path, operation)

    def webhooks(self) -> Iterator[Element]:
        """What the server sends."""
        yield _element("h2", "Webhooks")
        for name, methods in self._document.get("webhooks", {}).items():
            for method, operation in methods.items():
                yield self._operation(method.upper(), name, operation)

    def schemas(self) -> Iterator[Element]:
        """Every schema that has a name."""
        yield _element("h2", "Schemas")
        for name, schema in sorted(self._document["components"]["schemas"].items()):
            yield _element("details", _element("summary", _element("h3", name)), *self._schema(name, schema))

    def _operation(self, method: str, path: str, operation: Mapping[str, Any]) -> Element:
        name = operation["operationId"]
        title = _element("h3", _element("b", method), " ", _element("code", path))
        told = [*_text(operation.get("description", "")), " "]
        if operation.get("security") == []:
            told.append("It needs no key. ")
        return _element(
            "details",
            _element("summary", title, _element("span", operation["summary"])),
            # Not the heading, which is never hidden: a link to what is hidden opens it.
            _element("p", *told, "Its name in generated clients is ", _element("code", name), ".", id=name),
            *self._parameters(operation.get("parameters", ())),
            *self._body(operation),
            *self._answers(operation["responses"]),
            *self._examples(operation["responses"]),
        )

    def _parameters(self, parameters: Iterable[Mapping[str, Any]]) -> list[Element]:
        rows: list[list[list[Node]]] = []
        for each in map(self._resolved, parameters):
            about = _text(each.get("description", ""))
            rows.append([_named(each["name"], each["required"]), [each["in"]], self._kind(each["schema"]), about])
        return _table("Parameters", ("Name", "In", "Type", "Meaning"), rows) if rows else []

    def _body(self, operation: Mapping[str, Any]) -> Iterator[Element]:
        if "requestBody" in operation:
            body = self._resolved(operation["requestBody"])
            yield _element("h4", "Body")
            yield _element("p", *_text(body.get("description", "")))
            yield _element("ul", *(_element("li", *each) for each in self._contents(body)))

    def _answers(self, responses: Mapping[str, Mapping[str, Any]]) -> list[Element]:
        rows: list[list[list[Node]]] = []
        for status, response in responses.items():
            answer = self._resolved(response)
            rows.append([[_element("code", status)], _text(answer["description"]), [*self._answer(answer)]])
        return _table("Answers", ("Status", "Meaning", "Content"), rows)

    def _answer(self, answer: Mapping[str, Any]) -> Iterator[Node]:
        for each in self._contents(answer):
            yield _element("div", *each)
        if headers := answer.get("headers"):
            yield _element("div", "headers: ", *_separated((_element("code", name) for name in headers), ", "))

    def _examples(self, responses: Mapping[str, Mapping[str, Any]]) -> Iterator[Element]:
        for answer in map(self._resolved, responses.values()):
            for media, content in answer.get("content", {}).items():
                if "example" in content:
                    text = json.dumps(content["example"], indent=1, ensure_ascii=False)
                    summary = _element("summary", "An example, ", _element("code", media))
                    yield _element("details", summary, _element("pre", text, tabindex="0"))

    def _contents(self, part: Mapping[str, Any]) -> Iterator[list[Node]]:
        for media, content in part.get("content", {}).items():
            yield [_element("code", media), " ", *self._kind(content.get("schema", {}))]

    def _schema(self, name: str, schema: Mapping[str, Any]) -> Iterator[Element]:
        yield _element("p", *_text(schema.get("description", "")), id=_anchor(name))
        if "properties" not in schema:
            yield _element("p", *self._kind(schema))
            return
        required = schema.get("required", ())
        rows = [
            (
                _named(member, member in required),
                self._kind(of),
                _text(of.get("description", "")),
            )
            for member, of in schema["properties"].items()
        ]
        yield from _table("Members", ("Name", "Type", "Meaning"), rows)

    def _kind(self, schema: Mapping[str, Any]) -> list[Node]:
        """What a schema allows, in words, with links to the schemas that it names."""
        if "$ref" in schema:
            return [_schema_link(schema["$ref"])]
        for word, between in (("anyOf", " or "), ("oneOf", " or "), ("allOf", " and ")):
            if word in schema:
                return self._each(schema[word], between)
        if "const" in schema:
            return [_element("code", json.dumps(schema["const"]))]
        if "enum" in schema:
            return [*_separated((_element("code", json.dumps(each)) for each in schema["enum"]), ", ")]
        if "properties" in schema:
            members = schema["properties"].items()
            return ["object with ", *_separated((self._member(*each) for each in members), ", ")]
        if schema.get("format") == "binary":
            return ["a file as it is"]
        words: list[Node] = [schema.get("type", "anything")]
        if places := schema.get("prefixItems"):
            alike = all(each == places[0] for each in places)
            words += [f" of {len(places)}: ", *self._kind(places[0])] if alike else [" of ", *self._each(places, ", ")]
        elif schema.get("items"):
            words += [" of ", *self._kind(schema["items"])]
        elif isinstance(schema.get("additionalProperties"), dict):
            words += [" of ", *self._kind(schema["additionalProperties"])]
        notes = [schema[word] for word in ("format", "contentEncoding") if word in schema]
        bounds = () if "prefixItems" in schema else _BOUNDS
        notes += [text.format(_plain(schema[word])) for word, text in bounds if word in schema]
        if examples := schema.get("examples"):
            notes.append("such as " + ", ".join(map(str, examples)))
        return [*words, f" ({'; '.join(notes)})"] if notes else words

    def _each(self, schemas: Iterable[Mapping[str, Any]], between: str) -> list[Node]:
        return [*_separated((_element("span", *self._kind(each)) for each in schemas), between)]

    def _member(self, name: str, schema: Mapping[str, Any]) -> Element:
        return _element("span", _element("code", name), ": ", *self._kind(schema))

    def _resolved(self, part: Mapping[str, Any]) -> Mapping[str, Any]:
        while "$ref" in part:
            kind, name = part["$ref"].split("/")[-2:]
            part = self._document["components"][kind][name]
        return part


def _element(tag: str, *children: Node, **attributes: str) -> Element:
    made = Element(tag, attributes)
    last: Element | None = None
    for child in children:
        if isinstance(child, Element):
            made.append(child)
            last = child
        elif last is None:
            made.text = (made.text or "") + child
        else:
            last.tail = (last.tail or "") + child
    return made


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def _named(name: str, required: bool) -> list[Node]:
    return [_element("code", name), *([" required"] if required else [])]


def _text(words: str) -> list[Node]:
    """A description: what stands between backticks is code."""
    parts: list[Node] = []
    for place, piece in enumerate(_CODE.split(words)):
        parts.append(_element("code", piece) if place % 2 else piece)
    return parts


def _table(title: str, heads: Iterable[str], rows: Iterable[Iterable[Iterable[Node]]]) -> list[Element]:
    top = _element("thead", _element("tr", *(_element("th", each, scope="col") for each in heads)))
    body = (_element("tr", *(_element("td", *cell) for cell in row)) for row in rows)
    table = _element("table", top, _element("tbody", *body))
    return [_element("h4", title), _element("div", table, **{"class": "wide", "tabindex": "0"})]


def _separated(nodes: Iterable[Node], between: str) -> Iterator[Node]:
    for place, node in enumerate(nodes):
        if place:
            yield between
        yield node


def _link(address: str) -> Element:
    return _element("a", address, href=address)


def _anchor(schema: str) -> str:
    return f"schema-{schema}"


def _schema_link(reference: str) -> Element:
    name = reference.rpartition("/")[2]
    return _element("a", name, href=f"#{_anchor(name)}")
