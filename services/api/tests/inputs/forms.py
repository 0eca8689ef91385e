"""This module is where it is said what every refusal looks like, whatever was asked."""

from typing import Final

from services.api.tests.inputs.place import Answer

MEMBERS: Final = {"type", "title", "status", "detail", "instance", "code", "traceId"}
INNER: Final = (
    *("Traceback", "SELECT", "INSERT", "sqlalchemy", "asyncpg", "msgspec", "litestar", "uvicorn"),
    *("site-packages", "/work/", "/usr/", ".py", "postgresql://", "a secret that"),
)
ECHO_MAX: Final = 200


def check_form(answer: Answer, request: bytes) -> None:
    """Check that a refusal is a problem which tells its reader enough and a stranger nothing."""
    assert answer.headers["X-Trace-Id"]
    if answer.status < 400:
        return
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.problem
    assert problem.keys() >= MEMBERS
    assert problem["status"] == answer.status
    assert problem["title"]
    assert problem["detail"]
    assert len(answer.content) < 2_000
    inner = [word.encode() for word in INNER]
    assert not [word for word in inner if word in answer.content and word not in request]
    echoes = range(len(answer.content) - ECHO_MAX)
    assert not any(answer.content[at : at + ECHO_MAX + 1] in request for at in echoes)
    if answer.status == 401:
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    if answer.status == 405:
        assert answer.headers["Allow"]
