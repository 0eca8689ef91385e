"""Promises about docs/events: what is published is what is sent, and stays readable for ever."""

from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from wallet_common.events import Event, decode, json_schemas
from wallet_common.facts import EventType
from wallet_common.topology import ANSWER_KEY
from wallet_tools import cli
from wallet_tools.contracts.schemas import SAMPLES, samples

PUBLISHED = SAMPLES.parent
NAMES = [*map(str, EventType), ANSWER_KEY]
KEPT = sorted(path.name for path in SAMPLES.glob("*.json"))


def schema_of(name: str) -> Any:  # noqa: ANN401  # JSON
    return msgspec.json.decode((PUBLISHED / f"{name}.json").read_bytes())


def test_the_published_schemas_are_those_of_the_code(tmp_path: Path) -> None:
    """docs/events holds what the code says, to the letter; `wallet events-schemas` renews it."""
    assert cli.main(["events-schemas", str(tmp_path)]) == 0

    published = {path.name: path.read_text("utf-8") for path in PUBLISHED.glob("*.json")}
    current = {path.name: path.read_text("utf-8") for path in tmp_path.glob("*.json")}
    assert published == current, "run `tools/dev wallet events-schemas docs/events`"
    assert current.keys() == {f"{name}.json" for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_speaks_for_itself(name: str) -> None:
    """Each has an id of its own and a title, tells what each field means, and shows an example."""
    schema = schema_of(name)
    objects = [schema, *schema.get("$defs", {}).values()]

    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"urn:wallet:message:{name}:1"
    assert schema["title"]
    assert schema["examples"]
    assert all(each["description"] for each in objects)
    fields = [field for each in objects for field in each["properties"].values()]
    assert all(field["description"] for field in fields)


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_takes_the_fields_of_tomorrow(name: str) -> None:
    """Fields may be added to any object without a new schema version."""
    schema = schema_of(name)
    example = schema["examples"][-1]
    grown = example | {"region": "eu"}
    if "payload" in grown:
        grown["payload"] = grown["payload"] | {"channel": {"name": "card"}}

    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(grown)
    assert not validator.is_valid(grown | {"schemaVersion": 2, "status": "pending"})


@pytest.mark.parametrize("kept", KEPT)
def test_what_was_sent_once_is_readable_for_ever(kept: str) -> None:
    """Messages of the past are decoded by today's code and accepted by today's schemas."""
    name = kept.rpartition(".")[0].rpartition(".")[0]
    body = (SAMPLES / kept).read_bytes()

    jsonschema.Draft202012Validator(schema_of(name)).validate(msgspec.json.decode(body))
    if name != ANSWER_KEY:
        assert type(decode(body)).__name__ == name


def test_a_message_of_each_type_is_kept() -> None:
    """A new type, and whatever is added to one, is recorded as it goes out: `<type>.<n>.json`."""
    assert {name.split(".json")[0].rpartition(".")[0] for name in KEPT} == set(NAMES)
    assert all(samples(name) for name in NAMES)


def test_every_type_is_described() -> None:
    """The union of events, the names of types and the code's schemas are the same set."""
    assert {each.__name__ for each in Event.__args__} == json_schemas().keys() == set(EventType)
