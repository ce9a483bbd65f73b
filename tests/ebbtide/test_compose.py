"""docker-compose.yml and what belongs to it, held against what the code reads and says.

There is no Docker in the tests: the files are parsed, not run.
"""

import ast
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from ebbtide.commands.app import app
from ebbtide.flink import runtime
from ebbtide.live import prometheus
from ebbtide.live.status import Lag, PathState, TopicNames
from ebbtide.services import broker, jars
from state.progress import Progress
from tests.ebbtide.commands.test_monitor import ACTED, HEALTH, OPEN
from tests.ebbtide.commands.test_status import trainer

ROOT = Path(__file__).parent.parent.parent
OPS = ROOT / "ops"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = sorted(name for name, service in SERVICES.items() if "build" in service)
DASHBOARD = json.loads((OPS / "grafana/dashboards/ebbtide.json").read_text())
CODE = "".join(
    path.read_text()
    for package in ("ebbtide", "learners", "monitor", "replay", "serving", "state", "streams")
    for path in (ROOT / package).rglob("*.py")
)


def exported() -> set[str]:
    """Names of all samples that there are."""
    progress = {0: Progress(dead_letters={"no key": 1}, unknown_fields={"lable": 1})}
    seen = PathState(
        progress,
        trainer(alarms=[OPEN], actions=[ACTED], embeddings=HEALTH),
        Lag({0: 0}, {0: 0}),
        1,
        [],
        True,
        True,
    )
    return {sample.name for family in prometheus.of_all(seen) for sample in family.samples}


def options(service: str) -> dict[str, Any]:
    """What the command makes of a service's arguments; fails where it has no such option."""
    command: Any = typer.main.get_command(app)
    arguments = list(SERVICES[service]["command"])
    while arguments and arguments[0] in getattr(command, "commands", {}):
        command = command.commands[arguments.pop(0)]
    return dict(command.make_context(command.name, arguments).params)


def test_the_parts_are_there() -> None:
    assert set(SERVICES) == {
        *("kafka", "redis", "ingest", "train", "serve", "metrics", "prometheus", "grafana"),
        *("flink-jobmanager", "flink-taskmanager-1", "flink-taskmanager-2", "flink-job"),
    }
    assert [name for name in OURS if not name.startswith("flink-")] == ["ingest", "metrics", "serve", "train"]
    assert SERVICES["ingest"]["deploy"]["replicas"] == 2


@pytest.mark.parametrize("name", SERVICES)
def test_a_part_is_looked_after_and_bounded(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["restart"] == "unless-stopped"
    assert service["mem_limit"]
    assert service["cpus"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    for other, condition in service.get("depends_on", {}).items():
        assert condition == {"condition": "service_healthy"}
        assert other in SERVICES
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        assert (ROOT / source).exists() if source.startswith("./") else source in COMPOSE["volumes"]


@pytest.mark.parametrize("name", OURS)
def test_a_command_has_its_options_and_variables(name: str) -> None:
    options(name)
    variables = {key for key in SERVICES[name]["environment"] if key.startswith("EBBTIDE_")}
    read = set(re.findall(r"\"(EBBTIDE_[A-Z_]+)\"", CODE))
    assert variables <= read
    assert SERVICES[name]["user"] != "root" if "user" in SERVICES[name] else True
    assert SERVICES[name]["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("name", OURS)
def test_everybody_means_the_same_broker_and_store(name: str) -> None:
    environment, kafka = SERVICES[name]["environment"], SERVICES["kafka"]["environment"]
    assert f"://{environment['EBBTIDE_BROKERS']}" in kafka["KAFKA_ADVERTISED_LISTENERS"]
    assert environment["EBBTIDE_STORE"] == "redis://redis:6379/0"


def test_topics_and_the_group_are_those_of_everybody() -> None:
    ingest, look = options("ingest"), options("metrics")
    assert ingest["examples"] == options("train")["examples"] == look["examples"] == TopicNames().examples
    assert (ingest["events"], ingest["group"]) == (look["events"], look["group"])
    assert SERVICES["kafka"]["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_the_broker_is_the_one_that_services_start() -> None:
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{jars.KAFKA}"
    environment = SERVICES["kafka"]["environment"]
    local = dict(line.split("=", 1) for line in broker.SETTINGS.splitlines())
    for name in ("num.partitions", "auto.create.topics.enable", "transaction.state.log.min.isr"):
        assert str(environment[f"KAFKA_{name.upper().replace('.', '_')}"]) == local[name]
    for port in SERVICES["kafka"]["ports"]:
        assert f"OUTSIDE://localhost:{port.split(':')[1]}" in environment["KAFKA_ADVERTISED_LISTENERS"]


def test_flink_is_a_profile_of_its_own_whose_parts_find_each_other() -> None:
    profile = {name for name, service in SERVICES.items() if "profiles" in service}
    assert profile == {name for name in SERVICES if name.startswith("flink-")}
    manager, job = options("flink-jobmanager"), options("flink-job")
    workers = {name: options(name) for name in profile if "taskmanager" in name}
    assert manager["host"] == "flink-jobmanager"
    for name, worker in workers.items():
        assert (worker["host"], worker["jobmanager"]) == (name, manager["host"])
    address = f"{manager['host']}:{manager['port']}"
    assert job["jobmanager"] == address
    for name in profile:
        service = SERVICES[name]
        assert service["profiles"] == ["flink"]
        assert address in str(service["healthcheck"]["test"])
        assert service["tmpfs"] == ["/tmp:exec"]
        assert service["build"]["target"] == "flink"
        assert "ports" not in service, "whoever reaches a job manager can run what they like"
        assert any(str(job["checkpoints"]).startswith(one.split(":")[1]) for one in service["volumes"])
    assert job["parallelism"] <= len(workers) * runtime.SLOTS
    assert job["keep"]
    assert (job["events"], job["examples"]) == (options("ingest")["events"], options("train")["examples"])


def test_prometheus_asks_where_metrics_are_served() -> None:
    config = yaml.safe_load((OPS / "prometheus.yml").read_text())
    job, _ = config["scrape_configs"]
    ((target,),) = (one["targets"] for one in job["static_configs"])
    service, _, port = target.partition(":")
    assert options(service)["metrics_port"] == int(port)
    assert SERVICES[service]["environment"]["EBBTIDE_METRICS_HOST"] == "0.0.0.0"
    for name in ("ingest", "metrics"):
        (asked,) = re.findall(r"127\.0\.0\.1:(\d+)/metrics", SERVICES[name]["healthcheck"]["test"][-1])
        assert options(name)["metrics_port"] == int(asked)


def test_answers_are_given_where_they_are_asked_for() -> None:
    port = options("serve")["port"]
    _, job = yaml.safe_load((OPS / "prometheus.yml").read_text())["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"serve:{port}"]}]
    (asked,) = re.findall(r"127\.0\.0\.1:(\d+)/healthz", SERVICES["serve"]["healthcheck"]["test"][-1])
    assert int(asked) == port
    assert SERVICES["serve"]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert options("serve")["host"] == "0.0.0.0"


def test_what_a_health_check_imports_is_there() -> None:
    """And all the rest of what is written there in Python parses."""
    for service in SERVICES.values():
        check = service["healthcheck"]["test"]
        if check[1] == "python":
            tree = ast.parse(check[-1])
            imported = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
            assert imported
            for node in imported:
                exec(compile(ast.Module([node], []), "health check", "exec"), {})


def test_the_dashboard_shows_what_is_exported() -> None:
    panels = DASHBOARD["panels"]
    asked = {
        name
        for panel in panels
        for target in panel["targets"]
        for name in re.findall(r"ebbtide_\w+", target["expr"])
    }
    assert asked == exported()
    assert all(panel["datasource"]["uid"] == source()["uid"] for panel in panels)
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["title"] and panel["description"] for panel in panels)


def source() -> dict[str, Any]:
    config = yaml.safe_load((OPS / "grafana/provisioning/datasources/prometheus.yml").read_text())
    (found,) = config["datasources"]
    return dict(found)


def test_grafana_finds_its_dashboard_and_prometheus() -> None:
    provisioning = yaml.safe_load((OPS / "grafana/provisioning/dashboards/ebbtide.yml").read_text())
    mounts = dict(volume.split(":")[:2] for volume in SERVICES["grafana"]["volumes"])
    (provider,) = provisioning["providers"]
    folder = provider["options"]["path"]
    assert mounts["./ops/grafana/dashboards"] == folder
    assert mounts["./ops/grafana/provisioning"] == "/etc/grafana/provisioning"
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{folder}/ebbtide.json"
    assert source()["url"] == "http://prometheus:9090"


def test_the_image_is_built_from_the_lock_for_an_ordinary_user() -> None:
    lines = (OPS / "Dockerfile").read_text().splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    synced = [line for line in lines if line.startswith("RUN uv sync")]
    assert all("--frozen" in line for line in synced)
    extras = {frozenset(re.findall(r"--extra (\w+)", line)) for line in synced}
    assert extras == {frozenset({"live", "serve", "torch"}), frozenset({"flink"})}
    assert frozenset().union(*extras) <= set(project["project"]["optional-dependencies"])
    assert "FROM run AS flink" in lines
    assert lines[-2:] == ["FROM run", "COPY --from=build /ebbtide/.venv /ebbtide/.venv"], "the default"
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {f"COPY {package} {package}" for package in packages} <= set(lines)
    allowed = (OPS / "Dockerfile.dockerignore").read_text().splitlines()
    assert {f"!{name}" for name in (*packages, "pyproject.toml", "uv.lock")} <= set(allowed)
    assert lines.index("USER ebbtide") < lines.index('ENTRYPOINT ["ebbtide"]')
    assert project["project"]["requires-python"] == ">=3.11"
