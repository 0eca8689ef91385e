"""This module is where the demo plays another service: a sign-up, a top-up, and its failure."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import aio_pika
import msgspec
from aio_pika.abc import AbstractChannel, AbstractQueue

from wallet_common.topology import ANSWER_KEY, COMPLETION_KEY, FAILURE_KEY, SIGN_UP_KEY
from wallet_db_orm.ids import new_id
from wallet_tools.demo.story import Story, check, tell, until

_TOP_UP = Decimal("75.00")


async def tell_of_others(story: Story) -> None:
    """Tell how another service's user gets a wallet and money, and loses it again."""
    if story.run.rabbitmq is None:
        tell("Other services' sign-ups and transactions come over RabbitMQ, which is not here")
        return
    connection = await aio_pika.connect(story.run.rabbitmq, timeout=10)
    async with connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        answers = await channel.declare_queue(exclusive=True)
        await answers.bind(story.topology.transaction_exchange, ANSWER_KEY)
        await _tell(story, channel, answers)


async def _tell(story: Story, channel: AbstractChannel, answers: AbstractQueue) -> None:
    names, suffix = story.topology, new_id()[-6:]
    user, transaction = f"cyd-{suffix}", f"order-{suffix}"
    signed_up = {"userId": user, "name": "Cyd", "createdAt": datetime.now(UTC).isoformat()}
    await _say(channel, names.auth_exchange, SIGN_UP_KEY, signed_up)
    title = "A wallet is there, made by the sign-up"
    wallet_id, before = await _wallet_of(story, user, title)

    topped_up = {
        "transactionId": transaction,
        "type": "topup",
        "userId": user,
        "amount": str(_TOP_UP),
    }
    for _ in range(2):
        await _say(channel, names.transaction_exchange, COMPLETION_KEY, topped_up)
    await _answer(answers, transaction, "completed")
    after = await _balance(story, wallet_id, "Told twice, the top-up happened once")
    check(after == before + _TOP_UP, f"the top-up left {after}, there were {before}")

    failed = {"transactionId": transaction, "type": "topup", "reason": "card declined"}
    await _say(channel, names.transaction_exchange, FAILURE_KEY, failed)
    await _answer(answers, transaction, "failed")
    after = await _balance(story, wallet_id, "What the failed transaction did is taken back")
    check(after == before, f"the reversal left {after}, there were {before}")


async def _say(channel: AbstractChannel, exchange: str, key: str, body: dict[str, str]) -> None:
    tell(f"Another service says {key} on {exchange}\n     {msgspec.json.encode(body).decode()}")
    message = aio_pika.Message(msgspec.json.encode(body), content_type="application/json")
    await (await channel.get_exchange(exchange)).publish(message, key, mandatory=True, timeout=10)


async def _wallet_of(story: Story, user: str, title: str) -> tuple[str, Decimal]:
    async def is_there() -> bool:
        found = await story.client.get("/v1/wallets", params={"ownerId": user})
        return bool(found.json()["items"])

    await until(is_there, "the wallet of who signed up")
    (wallet,) = (await story.get(title, "", ownerId=user))["items"]
    return wallet["walletId"], Decimal(wallet["balance"])


async def _balance(story: Story, wallet_id: str, title: str) -> Decimal:
    return Decimal((await story.get(title, f"/{wallet_id}"))["balance"])


async def _answer(answers: AbstractQueue, transaction: str, status: str) -> None:
    told: list[dict[str, Any]] = []

    async def has_come() -> bool:
        message = await answers.get(no_ack=True, fail=False)
        if message is not None:
            told.append(msgspec.json.decode(message.body))
        return any(each["transactionId"] == transaction for each in told)

    await until(has_come, f"the answer to {transaction}")
    answer = next(each for each in told if each["transactionId"] == transaction)
    tell(f"It is told {ANSWER_KEY}\n     {msgspec.json.encode(answer).decode()}")
    check(answer["status"] == status, f"{transaction} was finalized as {answer['status']}")
