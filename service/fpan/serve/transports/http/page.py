"""The page at ``/`` and its files, read once from the package and served with a strict policy; the page of the HTTP
interface at ``/docs``.

Everything comes from this origin: no script, style or font of anyone else, nothing inline, nothing from outside.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.status import HTTP_304_NOT_MODIFIED

from fpan.serve.transports.http.openapi.html import render

PAGE_HEADERS: Final = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'self'",
            "img-src 'self' blob: data:",
            "media-src 'self' blob:",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    ),
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Security headers of every file of the page."""

MEDIA_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Content types by file name ending; a file with another ending is not part of the page."""

INDEX: Final = "index.html"
DOCS_PATH: Final = "/docs"
STATIC_PREFIX: Final = "/web/"


@dataclass(frozen=True)
class _File:
    """One file of the page, ready to send."""

    content: bytes
    media_type: str
    etag: str

    def answer(self, request: Request) -> Response:
        """200 with the file, or 304 when the browser holds this very version."""
        headers = {**PAGE_HEADERS, "ETag": self.etag, "Cache-Control": "no-cache"}
        known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
        if self.etag in known or "*" in known:
            return Response(status_code=HTTP_304_NOT_MODIFIED, headers=headers)
        return Response(self.content, media_type=self.media_type, headers=headers)


def _file(content: bytes, media_type: str) -> _File:
    return _File(content, media_type, f'"{hashlib.sha256(content).hexdigest()[:32]}"')


def _read(folder: Traversable, prefix: str = "") -> dict[str, _File]:
    """Every file below ``folder`` with a known ending, by its path with slashes."""
    found: dict[str, _File] = {}
    for entry in sorted(folder.iterdir(), key=lambda e: e.name):
        path = prefix + entry.name
        if entry.is_dir():
            found |= _read(entry, path + "/")
        elif media_type := MEDIA_TYPES.get("." + entry.name.rpartition(".")[2]):
            found[path] = _file(entry.read_bytes(), media_type)
    return found


def page_router() -> APIRouter:
    """Routes of the pages: ``/``, ``/docs`` and ``/web/...``, for GET and HEAD; none is in the OpenAPI document."""
    router = APIRouter(include_in_schema=False)
    pages = _read(files("fpan.serve") / "web")

    def add(route: str, file: _File) -> None:
        async def send(request: Request) -> Response:
            return file.answer(request)

        router.add_route(route, send, methods=["GET", "HEAD"], include_in_schema=False)

    @cache
    def docs_of(app: FastAPI) -> _File:
        return _file(render(app.openapi()), MEDIA_TYPES[".html"])

    async def docs(request: Request) -> Response:
        return docs_of(request.app).answer(request)

    router.add_route(DOCS_PATH, docs, methods=["GET", "HEAD"], include_in_schema=False)
    add("/", pages.pop(INDEX))
    for path, file in pages.items():
        add(STATIC_PREFIX + path, file)
    return router
