"""Promises about the AsyncAPI document: committed as it is, whole, and true of the code."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from wallet_common import topology as names
from wallet_common.facts import EventType
from wallet_common.messages import read_completion, read_failure, read_sign_up
from wallet_common.topology import Topology
from wallet_tools import cli
from wallet_tools.contracts.asyncapi import document as describe
from wallet_tools.state import ROOT

COMMITTED = ROOT / "docs" / "asyncapi.json"
DEFAULTS = Topology()


@pytest.fixture(scope="module")
def document() -> Any:  # noqa: ANN401  # JSON
    """Return the document as a reader finds it."""
    return msgspec.json.decode(COMMITTED.read_bytes())


def resolve(document: Any, reference: str) -> Any:  # noqa: ANN401  # JSON
    """Return what a reference within the document points to."""
    found = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def test_the_committed_document_is_the_present_one(tmp_path: Path) -> None:
    """docs/asyncapi.json is what the code says; `tools/dev wallet asyncapi` writes it anew."""
    written = tmp_path / "asyncapi.json"

    assert cli.main(["asyncapi", str(written)]) == 0

    is_present = written.read_bytes() == COMMITTED.read_bytes()
    assert is_present, "renew it: tools/dev wallet asyncapi docs/asyncapi.json"


def test_it_can_be_printed(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Without a file the document goes to standard output."""
    assert cli.main(["asyncapi"]) == 0

    assert msgspec.json.decode(capfdbinary.readouterr().out) == msgspec.to_builtins(describe())


def test_it_stands_alone(document: Any) -> None:  # noqa: ANN401  # JSON
    """Every reference points into the document itself, and to something."""
    found = list(references(document))

    assert found
    assert all(reference.startswith("#/") for reference in found)
    assert all(resolve(document, reference) for reference in found)


def test_it_is_asyncapi_3(document: Any) -> None:  # noqa: ANN401  # JSON
    """The parts that AsyncAPI 3.0 asks for are there, and operations use messages of channels."""
    assert document["asyncapi"] == "3.0.0"
    assert document["info"].keys() >= {"title", "version"}
    assert all({"host", "protocol"} <= each.keys() for each in document["servers"].values())
    for operation in document["operations"].values():
        assert operation["action"] in {"send", "receive"}
        channel = operation["channel"]["$ref"]
        for message in operation["messages"]:
            assert message["$ref"].startswith(f"{channel}/messages/")
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft7Validator.check_schema(schema)


def test_every_event_is_there_with_its_routing_key(document: Any) -> None:  # noqa: ANN401  # JSON
    """The events' channel has a message for each type, persistent, mandatory, named by the type."""
    channel = document["channels"]["events"]
    exchange = channel["bindings"]["amqp"]["exchange"]

    assert (exchange["name"], exchange["type"]) == (DEFAULTS.exchange, "topic")
    assert channel["messages"].keys() == set(EventType)
    assert channel["parameters"]["eventType"]["enum"] == list(EventType)
    for name, reference in channel["messages"].items():
        message = resolve(document, reference["$ref"])
        assert message["x-routing-key"] == message["bindings"]["amqp"]["messageType"] == name
        assert message["contentType"] == message["x-amqp-properties"]["content_type"]
        assert message["payload"]["$ref"] == f"#/components/schemas/{name}"
    sent = document["operations"]["sendEvents"]
    assert sent["bindings"]["amqp"].items() >= {"deliveryMode": 2, "mandatory": True}.items()
    assert len(sent["messages"]) == len(EventType)


def test_what_is_exchanged_with_other_services_is_there(document: Any) -> None:  # noqa: ANN401  # JSON
    """Sign-ups and transactions are received, answers sent, under the names of the topology."""
    told = {
        (channel["bindings"]["amqp"]["exchange"]["name"], channel["address"]): name
        for name, channel in document["channels"].items()
        if "exchange" in channel["bindings"]["amqp"]
    }
    actions = {
        operation["channel"]["$ref"].rpartition("/")[2]: operation["action"]
        for operation in document["operations"].values()
    }

    assert actions[told[DEFAULTS.auth_exchange, "user.signup"]] == "receive"
    for key in ("transaction.completed", "transaction.failed"):
        assert actions[told[DEFAULTS.transaction_exchange, key]] == "receive"
    assert actions[told[DEFAULTS.transaction_exchange, names.ANSWER_KEY]] == "send"
    text = COMMITTED.read_text("utf-8")
    for queue in (DEFAULTS.user_queue, DEFAULTS.update_queue, DEFAULTS.revert_queue):
        assert f"our queue {queue}." in text


def test_a_dead_letter_has_its_headers(document: Any) -> None:  # noqa: ANN401  # JSON
    """The dead letter queue is there, with every header by which a letter tells its story."""
    channel = document["channels"]["deadLetters"]
    letter = resolve(document, channel["messages"]["DeadLetter"]["$ref"])
    headers = resolve(document, letter["headers"]["$ref"])["properties"]

    assert channel["bindings"]["amqp"]["queue"]["name"] == DEFAULTS.dead_letter_queue
    assert DEFAULTS.dead_letter_exchange in channel["description"]
    assert headers.keys() == {
        *(names.ERROR_HEADER, names.ERROR_CLASS_HEADER, names.ATTEMPTS_HEADER),
        *(names.FIRST_FAILED_HEADER, names.LAST_FAILED_HEADER, names.REPLAYS_HEADER),
        *(names.ORIGIN_QUEUE_HEADER, names.ROUTING_KEY_HEADER),
    }


def test_every_example_is_one(document: Any) -> None:  # noqa: ANN401  # JSON
    """The examples of each message validate against its schema, out of the document itself."""
    messages = document["components"]["messages"]
    for name in messages.keys() - {"DeadLetter"}:
        schema = resolve(document, messages[name]["payload"]["$ref"])
        whole = schema | {"components": document["components"]}
        assert schema["examples"], name
        for example in schema["examples"]:
            jsonschema.Draft202012Validator(whole).validate(example)


def test_the_worker_reads_every_example_of_what_comes_in(document: Any) -> None:  # noqa: ANN401  # JSON
    """What is shown of other services' messages is understood, in both dialects."""
    readers: dict[str, Callable[[bytes], object]] = {
        "UserSignedUp": read_sign_up,
        "TransactionCompleted": lambda body: read_completion(body, "USD"),
        "TransactionFailed": read_failure,
    }
    for name, read in readers.items():
        payload = document["components"]["messages"][name]["payload"]["$ref"]
        examples = resolve(document, payload)["examples"]
        assert len(examples) > 1, name
        for example in examples:
            read(msgspec.json.encode(example))


REFUSED: dict[str, list[dict[str, object]]] = {
    "UserSignedUp": [{}, {"name": "Ada"}, {"userId": 7}, {"userId": ""}],
    "TransactionCompleted": [
        {"transactionId": "t", "type": "topup", "userId": "u"},
        {"transactionId": "t", "type": "topup", "userId": "u", "amount": 0},
        {"transactionId": "t", "type": "topup", "userId": "u", "amount": "-1"},
        {"transactionId": "t", "type": "topup", "amount": 1},
        {"transactionId": "t", "type": "gift", "userId": "u", "amount": 1},
        {"transactionId": "t", "type": "transfer", "userId": "u", "amount": 1},
        {"type": "topup", "userId": "u", "amount": 1},
    ],
    "TransactionFailed": [{}, {"transactionId": None}, {"transactionId": "t", "type": "gift"}],
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_poison_is_no_such_message(document: Any, name: str) -> None:  # noqa: ANN401  # JSON
    """A message that lacks what its effect needs does not validate; case of a type is no matter."""
    validator = jsonschema.Draft202012Validator(document["components"]["schemas"][name])

    assert not any(map(validator.is_valid, REFUSED[name]))
    if name == "TransactionCompleted":
        assert validator.is_valid(
            {"transactionId": "t", "type": "TopUp", "userId": "u", "amount": "1.50"}
        )
