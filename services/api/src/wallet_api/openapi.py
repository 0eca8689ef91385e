"""This module is where the API describes itself: honest bodies for each status, and Swagger UI."""

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import msgspec
from litestar import Litestar, Response, Router
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin, SwaggerRenderPlugin
from litestar.openapi.spec import OpenAPIType, Schema, SecurityRequirement
from litestar.openapi.spec.components import Components
from litestar.openapi.spec.security_scheme import SecurityScheme
from litestar.params import KwargDefinition
from litestar.plugins import OpenAPISchemaPlugin
from litestar.typing import FieldDefinition

from wallet_api.problems import MEDIA_TYPE, Problem, invalid
from wallet_api.schemas import ProblemAnswer

ASSETS: Final = Path(__file__).parent / "static" / "swagger"
ASSETS_PATH: Final = "/docs/assets"
# Swagger UI styles its elements one by one, and has its pictures in its style sheet.
_POLICY: Final = (
    "default-src 'none'; script-src 'self' {scripts}; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)
_INLINE_SCRIPT: Final = re.compile(rb"<script type='text/javascript'>(.*?)</script>", re.DOTALL)
_VERSION: Final = "1.0.0"
# No number of ours in a query has more.
_DIGITS_MAX: Final = 3
_DECIMALS: Final = frozenset(
    {"amount", "overdraft", "maxBalance", "maxTransaction", "flat", "min", "max", "rate"}
)

_MEANINGS: Final = {
    400: "Malformed or invalid; nothing happened and the key is not used up",
    401: "No valid token",
    403: "The token does not allow this",
    404: "Unknown",
    408: "The body did not arrive in time",
    409: "In conflict with what is there",
    413: "The body is too large",
    415: "Not JSON in UTF-8",
    429: "Too often; send the same request again after Retry-After",
    422: "Understood and refused; where something was decided, it is remembered under the key",
    500: "A fault of the service",
    503: "Busy; nothing is known to have happened, send the same request again",
}
_ALWAYS: Final = (401, 403, 429, 500, 503)
BEARER: Final[SecurityRequirement] = {"bearer": []}
# What a route says of itself that asks nobody for a token.
OPEN: Final[Sequence[SecurityRequirement]] = ({},)


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


def rehearsable(answer: type, *statuses: int) -> dict[str, Any]:
    """Return the options of a write that may be rehearsed: `dryRun`, its 200, and its refusals."""
    told = "What would be answered, with `dryRun: true`; nothing happened."
    done = ResponseSpec(answer, generate_examples=False, description=told)
    return {"responses": {200: done, **refusals(*statuses)}, **query("dryRun")}


async def strict_query(
    connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
) -> None:
    """Refuse unknown and repeated query parameters, and numbers that are not written plainly."""
    # A coroutine, because the framework sends plain functions to a thread.
    allowed: frozenset[str] = handler.opt.get("query", frozenset())
    for name, values in connection.query_params.dict().items():
        if name not in allowed:
            raise invalid(name[:100], "is not a parameter of this address")
        if len(values) > 1:
            raise invalid(name, "is given more than once")
        if values[0] == "null":
            # Which the framework would take for nothing said, and so for no filter.
            raise invalid(name, "must not be null; leave it out")
        text, declared = values[0], handler.parsed_fn_signature.parameters.get(name)
        if declared is None or not (
            declared.is_subclass_of(int) or declared.has_inner_subclass_of(int)
        ):
            continue
        if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS_MAX):
            bounds = declared.kwarg_definition
            assert isinstance(bounds, KwargDefinition), "a number of ours has its bounds"
            raise invalid(name, f"must be a number from {bounds.ge} to {bounds.le}")


class RawJson(OpenAPISchemaPlugin):
    """Describes the members that are decoded from their raw text."""

    @staticmethod
    def is_plugin_supported_type(value: Any) -> bool:  # noqa: ANN401  # any annotation
        return value is msgspec.Raw

    def is_plugin_supported_field(self, field_definition: FieldDefinition) -> bool:
        return field_definition.annotation is msgspec.Raw

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: Any) -> Schema:  # noqa: ANN401, ARG002
        if field_definition.name in _DECIMALS:
            pattern = r"^(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?$"
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
            "/docs", route_handlers=[], include_in_schema=False, after_request=_only_our_pages
        ),
        use_handler_docstrings=True,
        components=Components(security_schemes={"bearer": bearer} if secured else {}),
        security=[BEARER] if secured else None,
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


async def _only_our_pages(response: Response[Any]) -> Response[Any]:
    """
    Refuse unknown pages as everywhere, where the framework's own answer would be HTML.

    A page of ours runs the scripts that it came with, talks to this host, and is shown in no frame.
    """
    if response.status_code == 404:  # noqa: PLR2004  # as the framework spells it
        raise Problem(404, "not_found", "There is nothing at this address.")
    hashes = (
        f"'sha256-{b64encode(sha256(script).digest()).decode()}'"
        for script in _INLINE_SCRIPT.findall(response.content)
    )
    response.headers["Content-Security-Policy"] = _POLICY.format(scripts=" ".join(hashes))
    return response


def document(app: Litestar) -> bytes:
    """Return the OpenAPI document as JSON, stable from run to run."""
    plain = msgspec.json.encode(app.openapi_schema.to_schema())
    return msgspec.json.format(
        msgspec.json.encode(msgspec.json.decode(plain), order="deterministic"), indent=2
    )
