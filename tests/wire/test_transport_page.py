"""The examples of docs/transport.md run, in their order, against a server that asks for TLS and a password."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import smtp_transport
from smtp_transport import Event, errors, observation
from tests.wire.sink import Sink

PAGE = (Path(__file__).parents[2] / "docs" / "transport.md").read_text(encoding="utf-8")

# The examples speak to smtp.example.com, which is led to the sink. What they take as given is given here.
RUN = """
import socket, sys, types
page, port = sys.argv[1], int(sys.argv[2])
resolve = socket.getaddrinfo
def near(host, asked, *options, **more):
    assert host in ("smtp.example.com", "127.0.0.1"), host
    return resolve("127.0.0.1", port if host == "smtp.example.com" else asked, *options, **more)
socket.getaddrinfo = near
my_tunnel = types.SimpleNamespace(connect=lambda host, asked: socket.create_connection(("127.0.0.1", port)))
from email.message import EmailMessage
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from smtp_transport import Credentials
message = EmailMessage()
message["From"], message["To"] = "me@example.com", "you@example.org"
message.set_content("hello")
pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
ics_text = "BEGIN:VCALENDAR\\nMETHOD:REQUEST\\nEND:VCALENDAR"
given = {"__name__": "example", "credentials": Credentials.password("me", "secret"), "my_tunnel": my_tunnel}
given |= {"message": message, "pem": pem, "ics_text": ics_text}
import re
for number, example in enumerate(re.findall(r"^```python\\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)):
    exec(compile(example, f"example {number}", "exec"), given)
"""


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")
def test_the_examples_run(issued, ca_file):
    refused = {"nobody@example.org": "550 5.1.1 no such user"}
    with Sink(tls=issued("smtp.example.com"), user=(b"me", b"secret"), refuse=refused) as sink:
        ran = subprocess.run(
            [sys.executable, "-c", RUN, PAGE, str(sink.port)],
            capture_output=True,
            text=True,
            env=os.environ | {"SSL_CERT_FILE": str(ca_file)},
            check=False,
        )
    assert ran.returncode == 0, ran.stderr
    told = ran.stdout.splitlines()
    assert told[0] == "('you@example.org',) () SINK01"
    assert told[1:4] == [f"('{name}@example.org',) SINK01" for name in ("ada", "bob", "eve")]
    assert "invalid_recipient_address 550 5.1.1 RCPT False" in told
    assert sum("you@example.org" in mail.recipients for mail in sink.taken) >= 2


def test_every_error_is_in_the_table():
    named = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    tree = {e.__name__ for e in vars(errors).values() if isinstance(e, type) and issubclass(e, errors.SmtpError)}
    assert tree - {"SmtpError"} <= named


def named(page):
    """Every word that stands in code on the page."""
    return {word for code in re.findall(r"`([^`\n]+)`", page) for word in re.findall(r"[A-Za-z_]\w*", code)}


def test_every_public_name_is_on_the_page():
    assert set(smtp_transport.__all__) - named(PAGE) == set()
    assert {name for name in observation.__all__ if name[0].isupper()} - {"Observers"} - named(PAGE) == set()


CONFIGURATIONS = (
    "SmtpConfig",
    "TlsConfig",
    "PoolConfig",
    "RetryConfig",
    "RetryConditions",
    "CircuitBreakerConfig",
    "RateLimitConfig",
    "OAuth2Client",
)


@pytest.mark.parametrize("name", [*CONFIGURATIONS, "Email"])
def test_every_field_that_can_be_set_is_on_the_page(name):
    assert set(getattr(smtp_transport, name).model_fields) - named(PAGE) == set()


VALUES = (
    "DeliveryOptions",
    "DeliverBy",
    "SendResult",
    "BatchSendResult",
    "RejectedRecipient",
    "PoolStatus",
    "ConnectionInfo",
    "Receipt",
    "RecipientReceipt",
    "Reply",
)


@pytest.mark.parametrize("name", VALUES)
def test_every_field_that_is_given_back_is_on_the_page(name):
    assert {field.name for field in dataclasses.fields(getattr(smtp_transport, name))} - named(PAGE) == set()


def test_every_link_within_the_page_leads_to_a_heading():
    headings = re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    linked = set(re.findall(r"\]\(#([^)]+)\)", PAGE))
    assert len(linked) > 15
    assert linked <= anchors


def section(heading):
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def test_every_event_tells_what_the_table_says():
    rows = re.findall(r"^\| `([A-Z]\w+)` \| [^|]+ \| ([^|]+) \|$", section("Seeing what happens"), re.MULTILINE)
    told = {event: re.findall(r"`(\w+)`", fields) for event, fields in rows}
    classes = [event for event in vars(observation).values() if isinstance(event, type) and issubclass(event, Event)]
    has = {
        event.__name__: [field.name for field in dataclasses.fields(event)] for event in classes if event is not Event
    }
    assert {event: ["at", "connection", *fields] for event, fields in told.items()} == has
