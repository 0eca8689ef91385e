"""Promises about the OpenAPI document: committed as it is, complete, and true of real answers."""

import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from wallet_api import openapi
from wallet_api.app import describe
from wallet_api.settings import ApiSettings
from wallet_tools import cli

COMMITTED = Path(__file__).parents[3] / "docs" / "openapi.json"
SECRET = "a secret that is longer than the sixty-four bytes which HS512 wants"
PROBLEM = "application/problem+json"
# What is never unknown: an empty list is a list.
LISTS = {
    *("/v1/accounts", "/v1/fees"),
    *("/v1/wallets", "/v1/me/wallets", "/api/v1/wallet/user"),
    *("/v1/events", "/v1/admin/dead-letters", "/v1/admin/audit"),
}
Builder = Callable[..., Awaitable[str]]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """Return the document as a caller reads it."""
    told: dict[str, Any] = describe().openapi_schema.to_schema()
    return told


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def test_the_committed_document_is_the_present_one(tmp_path: Path) -> None:
    """docs/openapi.json is what the code says; `tools/dev wallet openapi` writes it anew."""
    written = tmp_path / "openapi.json"

    assert cli.main(["openapi", str(written)]) == 0

    is_present = written.read_bytes() == COMMITTED.read_bytes()
    assert is_present, "renew it: tools/dev wallet openapi docs/openapi.json"


async def test_the_served_document_is_the_committed_one(
    configured: Callable[..., ApiSettings], client_of: Callable[[ApiSettings], Any]
) -> None:
    """A process that asks for tokens serves exactly the document that is committed."""
    settings = configured(WALLET_AUTH="jwt", WALLET_JWT_SECRET=SECRET)
    async with client_of(settings) as client:
        served = (await client.get("/docs/openapi.json")).json()

    assert served == httpx.Response(200, content=COMMITTED.read_bytes()).json()


def test_it_is_openapi_3_1(document: dict[str, Any]) -> None:
    """The document has OpenAPI 3.1's structure, unique names, and schemas that are schemas."""
    assert re.fullmatch(r"3\.1\.\d+", document["openapi"])
    assert document["info"]["title"]
    assert document["info"]["version"]
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    schemas = document["components"]["schemas"]
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for reference in re.findall(r"#/components/schemas/([^'\"]+)", str(document)):
        assert reference in schemas
    for _, path, operation in operations(document):
        inputs = operation.get("parameters", [])
        in_path = {each["name"] for each in inputs if each["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", path))
        assert all("schema" in each for each in inputs)


def test_every_status_is_documented(document: dict[str, Any]) -> None:
    """Each route names all statuses that it answers, and a problem for each that is an error."""
    for method, path, operation in operations(document):
        told = {int(status) for status in operation["responses"]}
        if path in {"/healthz", "/readyz", "/metrics"}:
            expected = {200} | {"/readyz": {503}, "/metrics": {401, 403}}.get(path, set())
        elif method == "GET":
            expected = {200, 400, 401, 403, 404, 429, 500, 503}
            expected -= {404} if path in LISTS else set()
        else:
            business = {
                "/v1/wallets": {409},
                "/v1/batches": {422},
                "/v1/batches/stream": set(),
                "/v1/admin/dead-letters/replay": {404},
                "/v1/admin/dead-letters/{letter_id}/discard": {404},
                "/v1/admin/owners/{owner_id}/erase": {404},
                "/v1/admin/verify": {409},
                "/v1/fx/rates/{from_currency}/{to_currency}": set(),
                "/v1/fx/quotes": {422},
                "/v1/fees/{operation}/{currency}": set(),
            }.get(path, {404, 422})
            expected = {201, 400, 401, 403, 408, 413, 415, 429, 500, 503} | business
            expected |= set() if "/admin/" in path else {200}
            expected -= {201} if method == "PUT" else set()
        assert told == expected, (method, path)
        for status, response in operation["responses"].items():
            if int(status) >= 400 and path != "/readyz":
                schema = response["content"][PROBLEM]["schema"]
                assert schema == {"$ref": "#/components/schemas/ProblemAnswer"}, (method, path)


def test_links_lead_to_operations_that_take_what_they_give(document: dict[str, Any]) -> None:
    """A link names an operation of the document, and every parameter of its path."""
    needs = {
        operation["operationId"]: set(re.findall(r"{(\w+)}", path))
        for _, path, operation in operations(document)
    }
    links = [
        link
        for _, _, operation in operations(document)
        for response in operation["responses"].values()
        for link in response.get("links", {}).values()
    ]

    assert len(links) == 17
    for link in links:
        assert set(link["parameters"]) == needs[link["operationId"]]


def test_what_is_open_says_that_it_asks_for_no_token(document: dict[str, Any]) -> None:
    """Without a token there are health and, if WALLET_METRICS allows it, figures; no more."""
    open_paths = {
        path for _, path, operation in operations(document) if {} in operation.get("security", [])
    }

    assert open_paths == {"/healthz", "/readyz", "/metrics"}


def test_the_amount_is_a_string_or_a_number(document: dict[str, Any]) -> None:
    """The amount's schema takes exactly what the grammar takes, as text or as a number."""
    for name in ("MoneyBody", "TransferBody"):
        schema = document["components"]["schemas"][name]["properties"]["amount"]
        validator = jsonschema.Draft202012Validator(schema)

        assert all(map(validator.is_valid, ["12.50", "0.01", "1", 12, 12.5]))
        assert not any(map(validator.is_valid, ["", "-1", "1e2", "01", ".5", "5.", "+1", "NaN"]))
        assert not any(map(validator.is_valid, [0, -1, None, True, [], {}]))


def validate(document: dict[str, Any], answered: httpx.Response, template: str) -> None:
    """Raise unless the answer has a documented status, media type and body."""
    method = answered.request.method.lower()
    response = document["paths"][template][method]["responses"][str(answered.status_code)]
    schema = response["content"][answered.headers["Content-Type"]]["schema"]
    whole = schema | {"components": document["components"]}
    jsonschema.Draft202012Validator(whole).validate(answered.json())


async def test_real_answers_are_as_documented(
    api: httpx.AsyncClient, a_wallet: Builder, document: dict[str, Any]
) -> None:
    """What routes really answer, done and refused, is what their schemas say."""
    wallet_id, other = await a_wallet("10.00"), await a_wallet("0")
    full = await a_wallet("92233720368547758.07")
    base, template = f"/v1/wallets/{wallet_id}", "/v1/wallets/{wallet_id}"
    words = {"metadata": {"a": 1}, "reference": "rent"}

    for verb, body in [
        ("deposit", {"amount": "1", "requestId": "k"} | words),
        ("deposit", {"amount": "2", "requestId": "k"}),
        ("deposit", {"amount": "x"}),
        ("withdraw", {"amount": "1"}),
        ("withdraw", {"amount": "999", "requestId": "r"}),
        ("transfer", {"amount": "1", "toWalletId": other, "requestId": "t"} | words),
        ("transfer", {"amount": "1", "toWalletId": full, "requestId": "f"}),
        ("transfer", {"amount": "1", "toWalletId": "nobody"}),
    ]:
        answered = await api.post(f"{base}/{verb}", json=body)
        validate(document, answered, f"{template}/{verb}")
    for url, route in [
        *((base, template), (f"{base}/history", f"{template}/history")),
        *((f"{base}/ledger", f"{template}/ledger"), (f"{base}/stats", f"{template}/stats")),
        *((f"{base}/operations/{key}", f"{template}/operations/{{request_id}}") for key in "krtfx"),
        *(("/v1/wallets", "/v1/wallets"), ("/v1/wallets?limit=0", "/v1/wallets")),
        *(("/v1/events", "/v1/events"), ("/v1/events?after=x", "/v1/events")),
        *((f"{base}/events/stream?after={bad}", f"{template}/events/stream") for bad in ("x", 99)),
        ("/v1/wallets/nobody/events/stream", f"{template}/events/stream"),
        *(("/v1/wallets/nobody", template), ("/healthz", "/healthz"), ("/readyz", "/readyz")),
    ]:
        validate(document, await api.get(url), route)
    for body in ({"ownerId": "a"}, {"currency": "ABC"}, {"ownerId": "a", "id": "x"}):
        validate(document, await api.post("/v1/wallets", json=body), "/v1/wallets")
    for key in ("t", "f"):
        found = (await api.get(f"{base}/operations/{key}")).json()
        view = await api.get(f"/v1/transfers/{found['transferId']}")
        validate(document, view, "/v1/transfers/{transfer_id}")


async def test_the_page_loads_only_what_is_here(api: httpx.AsyncClient) -> None:
    """Swagger UI's page names no other host, and every asset it names is served."""
    page = await api.get("/docs")

    assert page.headers["Content-Type"].startswith("text/html")
    assert not re.findall(r"""(?:src|href|url)\s*[=:]\s*["'](?:https?:)?//""", page.text)
    assets = re.findall(r"""["'](/docs/assets/[^"']+)["']""", page.text)
    assert len(assets) == 4
    for asset in assets:
        assert (await api.get(asset)).status_code == 200


async def test_swagger_can_be_turned_off(
    configured: Callable[..., ApiSettings], client_of: Callable[[ApiSettings], Any]
) -> None:
    """With ENABLE_SWAGGER off there is neither page nor document, and the API works."""
    async with client_of(configured(ENABLE_SWAGGER="false")) as client:
        for path in ("/docs", "/docs/openapi.json", openapi.ASSETS_PATH + "/swagger-ui.css"):
            assert (await client.get(path)).status_code == 404
        assert (await client.get("/v1/wallets")).status_code == 200
