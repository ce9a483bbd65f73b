"""How Kafka's clients prove who they are, and whom they trust: from the environment or files only.

Nothing of it is ever an option, since options are seen by everybody on the machine, nor part of a message.
"""

import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from state.errors import InputError

PROTOCOL, MECHANISM = "EBBTIDE_KAFKA_PROTOCOL", "EBBTIDE_KAFKA_MECHANISM"
USER, PASSWORD, PASSWORD_FILE = (
    "EBBTIDE_KAFKA_USER",
    "EBBTIDE_KAFKA_PASSWORD",
    "EBBTIDE_KAFKA_PASSWORD_FILE",
)
CA, CERT, KEY = "EBBTIDE_KAFKA_CA", "EBBTIDE_KAFKA_CERT", "EBBTIDE_KAFKA_KEY"
PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_PKCS8 = "BEGIN PRIVATE KEY"
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


class _Secret(str):
    """A text that logs do not show: clients write their whole configuration to theirs."""

    def __repr__(self) -> str:
        return "'***'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """Protocol, credentials and certificates; its text has no password in it."""

    protocol: str = "PLAINTEXT"
    mechanism: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ssl_context: ssl.SSLContext | None = field(default=None, repr=False)
    files: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What the context was made of, by the names of the variables."""

    def kafka_python(self) -> dict[str, Any]:
        """Options of kafka-python's clients."""
        options: dict[str, Any] = {"security_protocol": self.protocol}
        if self.ssl_context is not None:
            options["ssl_context"] = self.ssl_context
        if self.mechanism is not None:
            options |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.user,
                "sasl_plain_password": _Secret(self.password),
            }
        return options

    def aiokafka(self) -> dict[str, Any]:
        """Options of aiokafka's clients, which have the same names."""
        return self.kafka_python()

    def java(self) -> dict[str, str]:
        """Options of Kafka's own clients, with all that the files hold: those clients may be elsewhere.

        Without an authority of our own they trust those of their Java. Raises InputError where a key is not
        as Java reads it.
        """
        options = {"security.protocol": self.protocol}
        if self.mechanism is not None:
            module = "plain.PlainLoginModule" if self.mechanism == "PLAIN" else "scram.ScramLoginModule"
            credentials = f'username="{_quoted(self.user)}" password="{_quoted(self.password)}"'
            options |= {
                "sasl.mechanism": self.mechanism,
                "sasl.jaas.config": f"org.apache.kafka.common.security.{module} required {credentials};",
            }
        if CA in self.files:
            options |= {"ssl.truststore.type": "PEM", "ssl.truststore.certificates": _read(self.files[CA])}
        if CERT in self.files:
            options |= {
                "ssl.keystore.type": "PEM",
                "ssl.keystore.certificate.chain": _read(self.files[CERT]),
                "ssl.keystore.key": _java_key(self.files.get(KEY, self.files[CERT])),
            }
        return options

    def carried(self) -> dict[str, str]:
        """All of it as texts, with what the files hold, for `from_carried` where these are not."""
        said = {PROTOCOL: self.protocol, MECHANISM: self.mechanism, USER: self.user, PASSWORD: self.password}
        files = {name: _read(path) for name, path in self.files.items()}
        return {name: text for name, text in said.items() if text is not None} | files


def from_carried(said: Mapping[str, str]) -> Security:
    """What was `carried` here. Clients take certificates out of files: those are gone when it returns."""
    with tempfile.TemporaryDirectory(prefix="ebbtide-kafka-") as folder:
        paths = {name: Path(folder) / name for name in (CA, CERT, KEY) if name in said}
        for name, path in paths.items():
            path.write_text(said[name])
        found = from_environment({**said, **{name: str(path) for name, path in paths.items()}})
    return replace(found, files={})


OPEN = Security()
"""No encryption and no credentials: what listens on loopback only."""


def from_environment(environment: Mapping[str, str] = os.environ) -> Security:
    """What the variables above say. Raises InputError where they do not go together."""
    given = {
        name: text for name in (USER, PASSWORD, PASSWORD_FILE, MECHANISM) if (text := environment.get(name))
    }
    files = {name: text for name in (CA, CERT, KEY) if (text := environment.get(name))}
    protocol = _one_of(PROTOCOL, environment.get(PROTOCOL) or "PLAINTEXT", PROTOCOLS)
    if given and not protocol.startswith("SASL"):
        raise InputError(f"{min(given)}: has no meaning with {PROTOCOL}={protocol}; expected SASL_SSL there")
    if files and not protocol.endswith("SSL"):
        raise InputError(
            f"{min(files)}: has no meaning with {PROTOCOL}={protocol}; expected SSL or SASL_SSL there"
        )
    context = _context(files) if protocol.endswith("SSL") else None
    if not protocol.startswith("SASL"):
        return Security(protocol=protocol, ssl_context=context, files=files)
    if USER not in given:
        raise InputError(f"{USER}: expected a user for {PROTOCOL}={protocol}, got none")
    return Security(
        protocol=protocol,
        mechanism=_one_of(MECHANISM, given.get(MECHANISM, "PLAIN"), MECHANISMS),
        user=given[USER],
        password=_password(given),
        ssl_context=context,
        files=files,
    )


def _one_of(name: str, text: str, choices: tuple[str, ...]) -> str:
    if text.upper() not in choices:
        raise InputError(f"{name}: expected {', '.join(choices[:-1])} or {choices[-1]}, got {text!r}")
    return text.upper()


def _password(given: Mapping[str, str]) -> str:
    if (PASSWORD in given) == (PASSWORD_FILE in given):
        which = "both" if PASSWORD in given else "neither"
        raise InputError(f"{USER} is set: expected {PASSWORD} or {PASSWORD_FILE}, got {which}")
    if PASSWORD in given:
        return given[PASSWORD]
    try:
        password = Path(given[PASSWORD_FILE]).read_text().removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{PASSWORD_FILE}: cannot read {given[PASSWORD_FILE]} ({_why(error)})") from None
    if not password:
        raise InputError(f"{PASSWORD_FILE}: expected a password in {given[PASSWORD_FILE]}, got an empty file")
    return password


def _context(files: Mapping[str, str]) -> ssl.SSLContext:
    """Trusts the system's authorities, or only those of the CA file; host names are always checked."""
    try:
        context = ssl.create_default_context(cafile=files.get(CA))
    except (OSError, ssl.SSLError) as error:
        raise InputError(f"{CA}: expected certificates as PEM in {files[CA]} ({_why(error)})") from None
    if KEY in files and CERT not in files:
        raise InputError(f"{KEY}: expected its certificate in {CERT}, too, got none")
    if CERT in files:
        try:
            context.load_cert_chain(files[CERT], files.get(KEY), password=_no_password)
        except (OSError, ssl.SSLError, ValueError) as error:
            where = files[CERT] + (f" and {files[KEY]}" if KEY in files else "")
            raise InputError(
                f"{CERT}: expected a certificate and its key as PEM in {where} ({_why(error)})"
            ) from None
    return context


def _no_password() -> str:
    """Instead of a question on the terminal."""
    raise ValueError("its key is encrypted; decrypt it")


def _quoted(text: str | None) -> str:
    """Within the quotes of a login module's options."""
    return (text or "").replace("\\", "\\\\").replace('"', '\\"')


def _read(path: str) -> str:
    """What the context could read a moment ago."""
    return Path(path).read_text()


def _java_key(path: str) -> str:
    text = _read(path)
    if _PKCS8 not in text:
        raise InputError(
            f"{KEY}: expected a key that Java reads, as PKCS#8 ({_PKCS8!r}), in {path}; "
            f"`openssl pkcs8 -topk8 -nodes -in {path}` writes it so"
        )
    return text


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
