"""Promises of the container files that can be kept without a container engine."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
ONE_SHOT = {"migrate", "roles", "secrets"}
SERVICE_KEYS = {
    "build",
    "cap_drop",
    "command",
    "depends_on",
    "environment",
    "healthcheck",
    "hostname",
    "image",
    "network_mode",
    "ports",
    "read_only",
    "restart",
    "security_opt",
    "shm_size",
    "stop_grace_period",
    "tmpfs",
    "volumes",
}
BASES = {"python:3.13-slim", "postgres:18", "rabbitmq:4-management"}


def _stages() -> dict[str, tuple[str, list[str]]]:
    """Return each stage of the Dockerfile: the image it starts from, and its instructions."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text("utf-8"), flags=re.MULTILINE)
    stages: dict[str, tuple[str, list[str]]] = {}
    instructions: list[str] = []
    for line in filter(None, text.replace("\\\n", " ").splitlines()):
        if start := re.fullmatch(r"FROM (\S+) AS (\S+)", line):
            instructions = []
            stages[start[2]] = (start[1], instructions)
        else:
            instructions.append(" ".join(line.split()))
    return stages


def _lineage(target: str) -> list[str]:
    """Return a stage's instructions after those of the stages it is made from."""
    base, instructions = _stages()[target]
    return (_lineage(base) if base in _stages() else []) + instructions


def _listed_settings() -> dict[str, str]:
    text = (ROOT / ".env.example").read_text("utf-8")
    return dict(re.findall(r"^#([A-Z_]+)=(.*)$", text, flags=re.MULTILINE))


def _interpolated() -> list[tuple[str, str]]:
    text = (ROOT / "docker-compose.yml").read_text("utf-8")
    return re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", text)


def test_every_key_is_one_that_compose_knows() -> None:
    """A misspelled key would be refused by the engine; it is refused here."""
    assert COMPOSE.keys() - {"name", "services", "volumes"} == {
        key for key in COMPOSE if key.startswith("x-")
    }
    for service in SERVICES.values():
        assert service.keys() <= SERVICE_KEYS


def test_several_stacks_fit_on_one_machine() -> None:
    """No service claims a name that a second stack would need too."""
    assert not any("container_name" in service for service in SERVICES.values())


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_shows_its_health_or_ends(name: str) -> None:
    """What keeps running has a health check and is restarted; what ends has and is neither."""
    service = SERVICES[name]
    target = service.get("build", {}).get("target")
    in_image = bool(target) and any(i.startswith("HEALTHCHECK ") for i in _lineage(target))

    if name in ONE_SHOT:
        assert service["restart"] == "no"
        assert service["healthcheck"] == {"disable": True}
    else:
        assert service["restart"] == "unless-stopped"
        assert "stop_grace_period" in service
        assert in_image or "test" in service["healthcheck"]


def test_the_order_of_the_start() -> None:
    """Roles wait for PostgreSQL, migrations for roles, services for them; the API for no broker."""
    waits = {
        name: {other: how["condition"] for other, how in service.get("depends_on", {}).items()}
        for name, service in SERVICES.items()
    }

    assert waits == {
        "postgres": {},
        "rabbitmq": {},
        "secrets": {},
        "roles": {
            "postgres": "service_healthy",
            "secrets": "service_completed_successfully",
        },
        "migrate": {"roles": "service_completed_successfully"},
        "api": {
            "migrate": "service_completed_successfully",
            "secrets": "service_completed_successfully",
        },
        "worker": {
            "migrate": "service_completed_successfully",
            "rabbitmq": "service_healthy",
        },
    }


@pytest.mark.parametrize("name", OURS)
def test_our_containers_have_no_rights(name: str) -> None:
    """Each is built from an existing stage, runs as nobody, and writes only what it must."""
    service = OURS[name]
    instructions = _lineage(service["build"]["target"])

    assert (ROOT / service["build"]["context"]).is_dir()
    assert [i for i in instructions if i.startswith("USER ")] == ["USER 10001:10001"]
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_images_are_pinned() -> None:
    """Whatever is pulled is one of a few tags with a version."""
    stages = _stages()
    pulled = {base for base, _ in stages.values() if base not in stages}
    pulled |= {service["image"] for service in SERVICES.values() if "image" in service}

    assert pulled == BASES


def test_nothing_runs_through_a_shell() -> None:
    """Every command is a list of words, so that signals reach the program itself."""
    for _, instructions in _stages().values():
        for instruction in instructions:
            if found := re.match(r"(RUN|CMD|ENTRYPOINT|HEALTHCHECK.* CMD) (.)", instruction):
                assert found[2] == "[", instruction
    for service in SERVICES.values():
        assert isinstance(service.get("command", []), list)
        assert service.get("healthcheck", {}).get("test", ["CMD"])[0] == "CMD"


def test_what_is_copied_is_sent_to_the_builder() -> None:
    """Every source of a COPY exists and passes .dockerignore, which keeps all else out."""
    lines = (ROOT / ".dockerignore").read_text("ascii").splitlines()
    sent = {line[1:] for line in lines if line.startswith("!")}

    assert lines[1] == "*"
    for _, instructions in _stages().values():
        for instruction in instructions:
            if found := re.fullmatch(r"COPY ([a-z]\S*) \S+", instruction):
                assert (ROOT / found[1]).exists()
                assert found[1].split("/")[0] in sent


def test_installs_are_checked_against_the_lock() -> None:
    """Every install takes versions and hashes from the lock, its build backend included."""
    instructions = [i for _, stage in _stages().values() for i in stage]
    installs = [i for i in instructions if '"uv", "pip", "install"' in i]

    assert len(installs) == 2
    for install in installs:
        assert '"--constraints", "requirements.lock"' in install
        assert '"--build-constraints", "requirements.lock"' in install


def test_every_setting_is_listed_with_its_default() -> None:
    """What compose takes from .env or sets for us stands in .env.example, with the same default."""
    listed = _listed_settings()
    named = {name for service in OURS.values() for name in service.get("environment", {})}

    assert named <= listed.keys()
    assert {name: listed.get(name) for name, _ in _interpolated()} == dict(_interpolated())


def test_no_setting_is_required() -> None:
    """`docker compose up --build` is all: every variable that compose reads has a default."""
    text = (ROOT / "docker-compose.yml").read_text("utf-8")

    assert text.count("$") == len(_interpolated())


def test_only_this_machine_reaches_what_is_not_ours() -> None:
    """The API is for everybody, the broker's pages for this machine, the rest for nobody."""
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

    assert ports == {
        "api": ["${WALLET_PORT:-3000}:3000"],
        "rabbitmq": ["127.0.0.1:${RABBITMQ_MANAGEMENT_PORT:-15672}:15672"],
    }


def _start_secrets(root: Path, given: str = "") -> None:
    python, option, script = SERVICES["secrets"]["command"]
    assert python == "python"
    for volume in SERVICES["secrets"]["volumes"]:
        (root / volume.partition(":/run/")[2]).mkdir(exist_ok=True)
    subprocess.run(
        [sys.executable, option, script.replace('"/run"', repr(str(root)))],
        env={"WALLET_JWT_SECRET": given},
        check=True,
    )


def test_the_token_secret_is_made_once(tmp_path: Path) -> None:
    """The first start makes a long secret, later ones keep it, one from .env replaces it."""

    def start(given: str) -> str:
        _start_secrets(tmp_path, given)
        return (tmp_path / "wallet" / "jwt").read_text("ascii")

    first = start("")
    assert len(first) >= 32
    assert start("") == first
    assert start("g" * 32) == start("") == "g" * 32


def test_each_role_has_a_password_that_is_made_once(tmp_path: Path) -> None:
    """Every start finds the same three addresses, nobody else can read, and none is left half."""
    _start_secrets(tmp_path)
    before = {file: file.read_text("ascii") for file in tmp_path.glob("*/*")}
    _start_secrets(tmp_path)

    assert {file: file.read_text("ascii") for file in tmp_path.glob("*/*")} == before
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in before)
    names = sorted(str(file.relative_to(tmp_path)) for file in before)
    roles = {"wallet": "api", "wallet-owner": "owner", "wallet-worker": "worker"}
    assert names == sorted(
        ["wallet/jwt", *(f"{each}/{name}" for each in roles for name in ("database", "password"))]
    )
    for folder, role in roles.items():
        password = (tmp_path / folder / "password").read_text("ascii")
        assert len(password) >= 32
        address = f"postgresql+asyncpg://wallet_{role}:{password}@postgres:5432/wallet"
        assert (tmp_path / folder / "database").read_text("ascii") == address


def test_each_service_is_its_own_role() -> None:
    """API, worker and migrations read their own address, and mount nobody else's."""
    folders = {"api": "wallet", "worker": "wallet-worker", "migrate": "wallet-owner"}
    for name, folder in folders.items():
        service = SERVICES[name]
        assert service["environment"]["WALLET_DATABASE_URL_FILE"] == f"/run/{folder}/database"
        assert "WALLET_DATABASE_URL" not in service["environment"]
        # The worker's checkpoints are the one thing that a service writes.
        written = ["/run/wallet"] if name == "worker" else []
        mounted = [each.partition(":")[2] for each in service["volumes"]]
        assert mounted == [f"/run/{folder}:ro", *written]
    passwords = {
        name: value
        for name, value in SERVICES["roles"]["environment"].items()
        if "PASSWORD" in name
    }
    assert passwords == {
        "WALLET_API_PASSWORD_FILE": "/run/wallet/password",
        "WALLET_OWNER_PASSWORD_FILE": "/run/wallet-owner/password",
        "WALLET_WORKER_PASSWORD_FILE": "/run/wallet-worker/password",
    }
