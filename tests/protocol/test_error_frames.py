"""What a tracker of errors finds behind one, in the variables of the frames that it passed: nothing of the mail."""

import pickle
import traceback
from functools import partial

import pytest

from smtp_transport import Email, RawEmail, SmtpClient
from smtp_transport.connection import Connection
from smtp_transport.errors import SmtpError
from smtp_transport.wire import WireMode
from tests.protocol.model_server import FATAL, OK, ModelServer
from tests.protocol.script import make_config

SECRETS = ("kilo-subject", "mike-body", "oscar-person", "papa-file")
EMAIL = Email(
    from_="Oscar <oscar-person@example.com>",
    to=["oscar-person@example.org", "you@example.net"],
    subject="kilo-subject",
    text_body="mike-body\n" * 30_000,
    date="2026-11-01T00:00:00Z",
)
SMALL = EMAIL.model_copy(update={"text_body": "mike-body"})
RAW = b"From: oscar-person@example.com\r\nTo: you@example.net\r\nSubject: kilo-subject\r\n\r\nmike-body\r\n"


def failures(email, mode: WireMode, fault: str, protocol: str = "smtp") -> list[SmtpError]:
    """Break off at each step of a mail in turn, and give what is raised."""
    raised: list[SmtpError] = []
    for step in range(6):
        dialer = _one_server([*[OK] * step, fault], protocol)
        client = SmtpClient(
            make_config(mode=mode, protocol=protocol, port=2525), partial(Connection.open, dialer=dialer)
        )
        try:
            client.send(email)
        except SmtpError as error:
            raised.append(error)
    return raised


def _one_server(decisions, protocol):
    rest = iter(decisions)
    return lambda config, deadline: ModelServer(rest, lmtp=protocol == "lmtp")


@pytest.mark.parametrize("fault", FATAL)
@pytest.mark.parametrize("mode", WireMode)
@pytest.mark.parametrize("email", [EMAIL, SMALL, RAW, RawEmail.of(RAW)], ids=["large", "small", "bytes", "raw"])
def test_no_frame_behind_an_error_holds_the_mail(email, mode: WireMode, fault: str) -> None:
    """NF-SEC-01."""
    found = [error for protocol in ("smtp", "lmtp") for error in failures(email, mode, fault, protocol)]
    assert found
    for error in found:
        told = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
        ours = told.partition("in send\n")[2]
        assert ours
        assert not [secret for secret in SECRETS if secret in ours + repr(error) + repr(pickle.dumps(error))]


@pytest.mark.parametrize(
    "refused", [b"From: oscar-person@\r\n\r\nmike-body", b"kilo-subject", b"From: a@b.example\r\n\r\nmike-body"]
)
def test_no_frame_behind_the_refusal_of_a_message_holds_it(refused: bytes) -> None:
    """NF-SEC-01."""
    with pytest.raises(SmtpError) as caught:
        SmtpClient(make_config()).send(refused)
    told = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert not [secret for secret in SECRETS if secret in told.partition("in send\n")[2]]
