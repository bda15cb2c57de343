"""What the OpenAPI document says of a parse: bodies, answers, with real examples."""

import json
from importlib import resources
from typing import Any

from fpan.serve.fetch.guard import MAX_URL
from fpan.serve.transports.http.openapi.components import BINARY, problems, ref
from fpan.serve.transports.http.openapi.options import option_parameters
from fpan.serve.transports.http.openapi.schema import ParseAnswer

_EXAMPLE = json.loads(
    resources.files("fpan.serve.transports.http.openapi").joinpath("examples/astronaut.json").read_text()
)

PARSE_SCHEMAS: dict[str, dict[str, Any]] = {
    "EncodedImage": {
        "type": "string",
        "contentEncoding": "base64",
        "description": "The file of a picture in base64; `data:...;base64,` may stand before it.",
    },
    "ImageForm": {
        "type": "object",
        "required": ["image"],
        "properties": {"image": {**BINARY, "description": "The picture, as a file."}},
        "description": "A picture as the only file of a form. Options are in the query.",
    },
    "ParseImageRequest": {
        "allOf": [
            ref("schemas", "ParseOptions"),
            {
                "type": "object",
                "required": ["image"],
                "properties": {"image": ref("schemas", "EncodedImage")},
            },
        ],
        "description": "A picture within JSON, and options.",
    },
    "ParseUrlRequest": {
        "allOf": [
            ref("schemas", "ParseOptions"),
            {
                "type": "object",
                "required": ["url"],
                "properties": {
                    "url": {
                        "type": "string",
                        "format": "uri",
                        "maxLength": MAX_URL,
                        "description": "Where the picture is, at a host that this server allows.",
                    }
                },
            },
        ],
        "description": "The address of a picture, and options.",
    },
    "ParseRequest": {
        "oneOf": [ref("schemas", "ParseImageRequest"), ref("schemas", "ParseUrlRequest")],
        "description": "A picture, or its address, and options.",
    },
}
"""Components: the bodies of a parse."""

PARSE: dict[str, Any] = {
    "operation_id": "parse",
    "summary": "Parse every face of a picture",
    "responses": {
        200: {
            "description": "Every face, its parts, and their masks in the pixels of the picture; with "
            "`Accept: image/png` one picture, with `application/x-npz` arrays for numpy instead.",
            "headers": {
                "Face-Count": ref("headers", "FaceCount"),
                "ETag": ref("headers", "ETag"),
                "Cache-Status": ref("headers", "CacheStatus"),
                "Server-Timing": ref("headers", "ServerTiming"),
                "RateLimit-Policy": ref("headers", "RateLimitPolicy"),
                "RateLimit": ref("headers", "RateLimit"),
            },
            "model": ParseAnswer,
            "content": {
                "application/json": {"example": _EXAMPLE},
                "image/png": {"schema": BINARY},
                "application/x-npz": {"schema": BINARY},
            },
        },
        **problems(
            400,
            404,
            406,
            408,
            413,
            415,
            422,
            503,
            504,
            s403="The key has not the scope `parse`, or the picture's `url` may not be asked.",
        ),
    },
    "openapi_extra": {
        "parameters": [*option_parameters(), ref("parameters", "ClientId"), ref("parameters", "Priority")],
        "requestBody": {
            "required": True,
            "description": "The picture: the file as it is, as a file of a form, or in JSON in base64 or by its "
            "address.",
            "content": {
                "application/octet-stream": {"schema": BINARY},
                "image/*": {"schema": BINARY},
                "multipart/form-data": {"schema": ref("schemas", "ImageForm")},
                "application/json": {"schema": ref("schemas", "ParseRequest")},
            },
        },
    },
}
"""Arguments of the route."""
