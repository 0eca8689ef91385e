"""This module is where the API describes itself: honest bodies for each status, and Swagger UI."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from litestar import Litestar, Response, Router
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin, SwaggerRenderPlugin
from litestar.openapi.spec import OpenAPIType, Schema
from litestar.openapi.spec.components import Components
from litestar.openapi.spec.security_scheme import SecurityScheme
from litestar.plugins import OpenAPISchemaPlugin
from litestar.typing import FieldDefinition

from wallet_api.problems import MEDIA_TYPE, Problem, invalid
from wallet_api.schemas import ProblemAnswer

ASSETS: Final = Path(__file__).parent / "static" / "swagger"
ASSETS_PATH: Final = "/docs/assets"
_VERSION: Final = "1.0.0"
_LIMIT_DIGITS_MAX: Final = 3

_MEANINGS: Final = {
    400: "Malformed or invalid; nothing happened and the key is not used up",
    401: "No valid token",
    403: "The token does not allow this",
    404: "Unknown",
    408: "The body did not arrive in time",
    409: "In conflict with what is there",
    413: "The body is too large",
    415: "Not JSON in UTF-8",
    422: "Understood and refused; the refusal is remembered under the key",
    500: "A fault of the service",
    503: "Busy; nothing is known to have happened, send the same request again",
}
_ALWAYS: Final = (401, 403, 500, 503)


def refusals(*statuses: int) -> Mapping[int, ResponseSpec]:
    """Return the error responses of a handler: the given ones and those that any may answer."""
    wanted = {*statuses, *_ALWAYS, *((408, 413, 415) if 422 in statuses or 409 in statuses else ())}  # noqa: PLR2004
    return {
        status: ResponseSpec(
            ProblemAnswer,
            media_type=MEDIA_TYPE,
            generate_examples=False,
            description=_MEANINGS[status],
        )
        for status in sorted(wanted)
    }


def query(*names: str) -> dict[str, Any]:
    """Return the option that makes `strict_query` accept these parameters, and no others."""
    return {"query": frozenset(names)}


async def strict_query(
    connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
) -> None:
    """Refuse unknown and repeated query parameters, and limits that are no plain number."""
    # A coroutine, because the framework sends plain functions to a thread.
    allowed: frozenset[str] = handler.opt.get("query", frozenset())
    for name, values in connection.query_params.dict().items():
        if name not in allowed:
            raise invalid(name[:100], "is not a parameter of this address")
        if len(values) > 1:
            raise invalid(name, "is given more than once")
        text = values[0]
        if name == "limit" and not (
            text.isascii() and text.isdecimal() and len(text) <= _LIMIT_DIGITS_MAX
        ):
            raise invalid(name, "must be a number from 1 to 200")


class RawJson(OpenAPISchemaPlugin):
    """Describes the members that are decoded from their raw text."""

    @staticmethod
    def is_plugin_supported_type(value: Any) -> bool:  # noqa: ANN401  # any annotation
        return value is msgspec.Raw

    def is_plugin_supported_field(self, field_definition: FieldDefinition) -> bool:
        return field_definition.annotation is msgspec.Raw

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: Any) -> Schema:  # noqa: ANN401, ARG002
        if field_definition.name == "amount":
            pattern = r"^(0|[1-9][0-9]{0,17})(\.[0-9]+)?$"
            return Schema(
                one_of=[
                    Schema(type=OpenAPIType.STRING, pattern=pattern, examples=["12.50"]),
                    Schema(type=OpenAPIType.NUMBER, exclusive_minimum=0, examples=[12.5]),
                ],
                description="A positive decimal, read exactly from its text.",
            )
        return Schema(type=[OpenAPIType.OBJECT, OpenAPIType.NULL], description="Kept as it came.")


def config(*, secured: bool) -> OpenAPIConfig:
    """Return the document's head and the pages under /docs; every asset is served from here."""
    bearer = SecurityScheme(type="http", scheme="bearer", bearer_format="JWT")
    return OpenAPIConfig(
        title="Wallet",
        version=_VERSION,
        description="Wallets with a ledger: deposits, withdrawals and transfers, exactly once.",
        openapi_router=Router(
            "/docs", route_handlers=[], include_in_schema=False, after_request=_no_other_page
        ),
        use_handler_docstrings=True,
        components=Components(security_schemes={"bearer": bearer} if secured else {}),
        security=[{"bearer": []}] if secured else None,
        render_plugins=[
            SwaggerRenderPlugin(
                path="/",
                js_url=f"{ASSETS_PATH}/swagger-ui-bundle.js",
                css_url=f"{ASSETS_PATH}/swagger-ui.css",
                standalone_preset_js_url=f"{ASSETS_PATH}/swagger-ui-standalone-preset.js",
                favicon=f"<link rel='icon' href='{ASSETS_PATH}/favicon-32x32.png'>",
            ),
            JsonRenderPlugin(path="/openapi.json"),
        ],
    )


async def _no_other_page(response: Response[Any]) -> Response[Any]:
    """Refuse unknown pages as everywhere: the framework's own answer would be HTML."""
    if response.status_code == 404:  # noqa: PLR2004  # as the framework spells it
        raise Problem(404, "not_found", "There is nothing at this address.")
    return response


def document(app: Litestar) -> bytes:
    """Return the OpenAPI document as JSON, stable from run to run."""
    plain = msgspec.json.encode(app.openapi_schema.to_schema())
    return msgspec.json.format(
        msgspec.json.encode(msgspec.json.decode(plain), order="deterministic"), indent=2
    )
