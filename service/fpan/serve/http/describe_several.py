"""What the OpenAPI document says of batches and jobs."""

from typing import Any

from fpan.serve.http.describe import BINARY, CLIENT_ID_HEADER, OPTIONS, PRIORITY_HEADER, problems, query_parameters
from fpan.serve.http.schema import BatchAnswer, PictureResult


def pictures_body(**members: dict[str, Any]) -> dict[str, Any]:
    """A request body with several pictures; ``members`` are further ones of its JSON."""
    options = {name: {**schema, "description": text} for name, schema, text in OPTIONS}
    picture = {"type": "string", "contentEncoding": "base64"}
    own = {"type": "object", "required": ["image"], "properties": {"image": picture, **options}}
    images = {
        "type": "array",
        "items": {"anyOf": [picture, own]},
        "minItems": 1,
        "description": "The pictures in base64; as objects they have options of their own, which go before all.",
    }
    files = {"type": "array", "items": BINARY["schema"], "description": "The pictures."}
    form = {"type": "object", "required": ["image"], "properties": {"image": files}}
    whole = {"type": "object", "required": ["images"], "properties": {"images": images, **options, **members}}
    return {
        "required": True,
        "content": {"multipart/form-data": {"schema": form}, "application/json": {"schema": whole}},
    }


BATCH: dict[str, Any] = {
    "summary": "Parse every face of several pictures",
    "responses": {
        200: {
            "description": "What became of each picture, in their order: its answer as `/v1/parse` gives it, or its "
            "problem. With `Accept: application/x-ndjson` a line each, as soon as it is there.",
            "model": BatchAnswer,
            "content": {"application/x-ndjson": {"schema": PictureResult.model_json_schema()}},
        },
        **problems(400, 406, 408, 413, 415, 429, 503),
    },
    "openapi_extra": {
        "parameters": [*query_parameters(), CLIENT_ID_HEADER, PRIORITY_HEADER],
        "requestBody": pictures_body(),
    },
}
"""Arguments of the route. Options in the query count for each picture; a deadline from when its turn comes."""
