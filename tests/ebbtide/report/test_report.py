"""report.json: the keys others script against, a schema that is kept, and no number that is none."""

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ebbtide.report import report as reports
from ebbtide.report.report import Report
from learners.judging.metrics import METRICS, RANKING
from state.drift_alarm import DriftAlarm
from state.errors import InputError
from tests.ebbtide.made_report import facts, report

ROOT = Path(__file__).parents[3]
PROMISED = {
    *("events", "seconds", "cpu_seconds", "events_per_second", "events_per_cpu_second", "peak_rss_mb"),
    *("metrics", "drift", "state_digest", "config", "versions"),
}


def written(made: Report, folder: Path) -> dict[str, Any]:
    reports.write(made, folder / "report.json")
    found: dict[str, Any] = json.loads(
        (folder / "report.json").read_text(), parse_constant=lambda name: pytest.fail(f"{name} in the report")
    )
    return found


def test_the_promised_keys_are_there(tmp_path: Path) -> None:
    found = written(report(), tmp_path)
    assert set(found) >= PROMISED
    assert found["schema_version"] == 1
    assert set(found["events"]) == {"read", "used", "dead_letters", "duplicates", "late", "left_out"}
    assert set(found["metrics"]) == {"all", "scored", "windows"}
    for part in (found["metrics"]["all"], found["metrics"]["scored"], *found["metrics"]["windows"]):
        assert set(part) >= set(METRICS)
        assert all(isinstance(part[metric], float) for metric in METRICS)
    assert found["events_per_second"] == 8000
    assert found["events_per_cpu_second"] == 16000


def test_the_runs_own_figures_are_the_models(tmp_path: Path) -> None:
    made = report()
    by_name = {one.name: one for one in made.learners}
    for metric in METRICS:
        model = by_name["twotower" if metric in RANKING else "gaussian"]
        assert made.metrics.scored.value(metric) == model.scored.value(metric)
    assert made.calibration == by_name["gaussian"].calibration
    assert made.ranking.ranked == sum(window.ranked for window in by_name["twotower"].windows)
    assert [window.events for window in made.metrics.windows] == [250] * 16


def test_a_log_without_labels_has_no_prediction_metrics(tmp_path: Path) -> None:
    found = written(report(labelled=False), tmp_path)
    scored = found["metrics"]["scored"]
    assert {metric: scored[metric] for metric in ("auc", "log_loss")} == {"auc": None, "log_loss": None}
    assert all(scored[metric] is not None for metric in RANKING)


@pytest.mark.parametrize("events", [0, 1, 30])
def test_a_short_log_has_a_report_too(tmp_path: Path, events: int) -> None:
    found = written(report(events, seconds=0.0), tmp_path)
    assert found["metrics"]["all"]["events"] == events
    assert found["events_per_second"] is None


def test_no_learner_at_all_is_no_reason_to_fail(tmp_path: Path) -> None:
    found = written(report(10, speakers=()), tmp_path)
    assert found["metrics"]["all"]["auc"] is None
    assert found["learners"] == []


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    alarm = DriftAlarm(
        time_ms=1, event=1, detector="adwin", signal="log_loss", before=0.5, after=0.7, means=(0.5, 0.7)
    )
    made = report(drift=[alarm], notes=["a note"])
    reports.write(made, tmp_path / "report.json")
    again = reports.read(tmp_path / "report.json")
    assert again.metrics == made.metrics
    assert again.learners == made.learners
    assert again.drift == [alarm]
    assert again.config["broken"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_a_report_that_breaks_its_schema_is_not_written(tmp_path: Path) -> None:
    broken = msgspec.structs.replace(report(10), seconds=float("nan"))
    with pytest.raises(msgspec.ValidationError, match=r"Expected `float`, got `null` - at `\$.seconds`"):
        reports.write(broken, tmp_path / "report.json")
    assert not list(tmp_path.iterdir())


def test_reading_says_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    with pytest.raises(InputError, match="expected a report of `ebbtide replay`"):
        reports.read(path)
    reports.write(report(10), path)
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 2'))
    with pytest.raises(InputError, match="expected a report of schema version 1"):
        reports.read(path)


def test_the_shipped_schema_is_up_to_date_and_every_report_keeps_it(tmp_path: Path) -> None:
    schema = json.loads(files("ebbtide.report").joinpath("report.schema.json").read_bytes())
    assert schema == json.loads(reports.schema()), "call ebbtide.report.report.write_schema()"
    for made in (report(), report(0), report(labelled=False), report(drift=[ALARM], dead_letters={"bad": 2})):
        assert list(violations(written(made, tmp_path), schema, schema)) == []
    wrong = written(report(30), tmp_path)
    wrong["events"]["read"] = "many"
    del wrong["metrics"]["scored"]["auc"]
    assert sorted(violations(wrong, schema, schema)) == [
        "$.events.read: 'many' is no integer",
        "$.metrics.scored: auc is missing",
    ]


ALARM = DriftAlarm(time_ms=5, event=1, detector="adwin", signal="log_loss", before=0.5, after=0.7)
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}


def violations(value: Any, schema: dict[str, Any], root: dict[str, Any], at: str = "$") -> list[str]:
    """The part of JSON Schema that the report's schema uses, read plainly."""
    if "$ref" in schema:
        return violations(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root, at)
    if "anyOf" in schema:
        tried = [violations(value, option, root, at) for option in schema["anyOf"]]
        return min(tried, key=len)
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{at}: {value!r} is none of {schema['enum']}"]
    kind = schema.get("type")
    if kind and not isinstance(value, TYPES[kind]):
        return [f"{at}: {value!r} is no {kind}"]
    found: list[str] = []
    if isinstance(value, dict):
        found += [f"{at}: {name} is missing" for name in schema.get("required", ()) if name not in value]
        rest = schema.get("additionalProperties", {})
        for name, inner in value.items():
            expected = schema.get("properties", {}).get(name, rest if isinstance(rest, dict) else {})
            found += violations(inner, expected, root, f"{at}.{name}")
    if isinstance(value, list):
        for i, inner in enumerate(value):
            found += violations(inner, schema.get("items", {}), root, f"{at}[{i}]")
    return found


def test_every_field_is_documented() -> None:
    text = (ROOT / "docs" / "report.md").read_text()
    named = set(re.findall(r"`([^`\s]+)`", text))
    documented = named | {name.split(".")[-1] for name in named}
    schema = json.loads(reports.schema())
    fields = {name for definition in schema["$defs"].values() for name in definition.get("properties", {})}
    assert fields <= documented


def test_events_per_cpu_second_counts_what_was_used() -> None:
    made = facts(100, dead_letters={"no user": 50})
    assert reports.build(made).events_per_cpu_second == 100 / made.cpu_seconds
