"""The client that only pretends: it takes what is expected, complains of the rest, and is else the real one."""

import re
import threading

import pytest

from smtp_transport import (
    CancelledError,
    Content,
    DeliverBy,
    DeliveryOptions,
    Envelope,
    ErrorKind,
    Interceptor,
    MessageError,
    Phase,
    ProtocolError,
    Return,
    SmtpConfig,
    SmtpTimeoutError,
    Transaction,
)
from smtp_transport.testing import ExpectationFailed, MockSmtpClient, UnexpectedSend

TIMEOUT = SmtpTimeoutError("no answer", ErrorKind.READ_TIMEOUT, phase=Phase.MAIL)


@pytest.fixture
def mock():
    return MockSmtpClient()


def test_what_is_expected_and_comes_is_well(mock, email):
    mock.expect_send(
        to="YOU@example.org", subject="Hi", text="Hello.", where=lambda mail: mail.sender == "me@example.com"
    )
    result = mock.send(email())
    mock.verify()
    assert result.accepted == ("you@example.org",)
    assert result.server_id == "MOCK1"
    assert result.message_id
    (mail,) = mock.sent
    assert mail.recipients == ("you@example.org",)
    assert mail.message["Message-ID"] == f"<{result.message_id.strip('<>')}>"


@pytest.mark.parametrize(
    "expected",
    [{"to": "other@example.org"}, {"subject": "H"}, {"text": re.compile("bye")}, {"where": lambda mail: False}],
)
def test_what_nothing_expects_is_told_at_once_and_at_the_end(mock, email, expected):
    mock.expect_send(**expected).times(0)
    with pytest.raises(UnexpectedSend, match="was not expected"):
        mock.send(email())
    with pytest.raises(ExpectationFailed, match="was not expected"):
        mock.verify()


def test_what_does_not_come_is_told(mock):
    mock.expect_send(to="you@example.org").times(2)
    mock.expect_send(subject=re.compile("x")).at_least(1)
    with pytest.raises(ExpectationFailed, match=r"to='you@example.org': expected 2, 0 came; .* 1 or more, 0 came"):
        mock.verify()


def test_one_too_many_is_told(mock, email):
    mock.expect_send().times(1)
    mock.send(email())
    with pytest.raises(UnexpectedSend, match="any more"):
        mock.send(email())


def test_outcomes_follow_each_other_and_the_last_stands(mock, email):
    mock.expect_send().raises(TIMEOUT).returns("AB12").at_least(3)
    with pytest.raises(SmtpTimeoutError) as raised:
        mock.send(email())
    assert raised.value is TIMEOUT
    assert [mock.send(email()).server_id for _ in range(2)] == ["AB12", "AB12"]
    mock.verify()


def test_an_earlier_expectation_is_asked_first_until_it_is_full(mock, email):
    mock.expect_send(to="a@example.org").returns("FIRST")
    mock.expect_send().returns("SECOND").times(2)
    results = mock.send_batch([email("a@example.org"), email("a@example.org"), email("b@example.org")]).results
    assert [result.server_id for result in results] == ["FIRST", "SECOND", "SECOND"]
    mock.verify()


def test_some_recipients_may_be_refused(mock, email):
    mock.expect_send().returns(refused={"b@example.org": (550, "no such user")})
    result = mock.send(email("a@example.org", "b@example.org"))
    assert result.is_partial_success
    assert [(each.address, each.code) for each in result.rejected] == [("b@example.org", 550)]


def test_all_recipients_may_be_refused(mock, email):
    mock.expect_send().returns(refused={"you@example.org": (550, "no such user")})
    with pytest.raises(MessageError) as refused:
        mock.send(email())
    assert refused.value.code == 550


def test_a_client_that_is_not_strict_takes_everything(email):
    mock = MockSmtpClient(strict=False)
    mock.expect_send(to="a@example.org").times(0)
    mock.send(email("b@example.org"))
    with pytest.raises(UnexpectedSend):
        mock.send(email("a@example.org"))
    assert len(mock.sent) == 2


def test_what_is_ready_for_the_wire_is_taken_as_well_and_needs_its_permit(mock):
    mock.expect_send(subject="raw").times(1)
    transaction = Transaction(
        Envelope("a@b.example", ("c@d.example",)), lambda _: Content(b"Subject: raw\r\n\r\nx\r\n")
    )
    receipts = dict(mock.deliver([transaction, transaction], lambda positions: [p for p in positions if p == 0]))
    assert receipts[0].accepted == ("c@d.example",)
    assert receipts[1].error.kind is ErrorKind.CANCELLED
    assert receipts[1].recipients[0].phase is Phase.BODY
    mock.verify()


def test_it_is_shut_down_like_the_real_one(mock, email):
    mock.expect_send().times(0)
    assert mock.test_connection().banner == "mock.test ESMTP"
    with mock as client:
        assert client is mock
    with pytest.raises(CancelledError):
        mock.send(email())
    mock.verify()


def test_threads_may_share_it(mock, email):
    mock.expect_send().times(40)
    senders = [threading.Thread(target=lambda: [mock.send(email()) for _ in range(10)]) for _ in range(4)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    mock.verify()


def test_a_batch_tells_each_email_its_own(mock, email):
    mock.expect_send(to="bad@example.org").raises(ProtocolError("broken", code=554, phase=Phase.DOT))
    mock.expect_send().times(2)
    batch = mock.send_batch([email(), email("bad@example.org"), email()])
    assert (batch.succeeded, batch.failed) == (2, 1)


@pytest.mark.parametrize("server_id", ["Q1", "two words", ""])
def test_an_id_that_no_client_would_find_in_a_reply_is_refused(mock, server_id):
    with pytest.raises(ValueError, match="server_id: give 4 to 64"):
        mock.expect_send().returns(server_id)


def test_what_a_mail_asks_for_besides_can_be_looked_at(mock, email):
    options = DeliveryOptions(ret=Return.FULL, require_tls=True, priority=3, hold_for=60, deliver_by=DeliverBy(60))
    mock.expect_send(where=lambda mail: mail.options == options)
    (result,) = mock.send_batch([email()], options).results
    assert result.is_complete_success


@pytest.mark.parametrize(
    ("fields", "options", "kind"),
    [
        ({"text_body": "x" * 3000}, None, ErrorKind.MESSAGE_TOO_LARGE),
        ({}, DeliveryOptions(original_recipients=["a@b", "c@d"]), ErrorKind.INVALID_RECIPIENT_ADDRESS),
        ({}, DeliveryOptions(original_recipients=["a" * 600]), ErrorKind.INVALID_RECIPIENT_ADDRESS),
    ],
)
def test_what_no_server_would_be_told_of_fails_here_too_and_was_not_sent(email, fields, options, kind):
    config = SmtpConfig(host="localhost", tls="none", local_hostname="mock.test", max_message_size=2000)
    mock = MockSmtpClient(config)
    mock.expect_send().times(1)
    unfit, fit = mock.send_batch([email(**fields)], options).results + mock.send_batch([email()]).results
    assert unfit.kind is kind
    assert fit.is_complete_success
    mock.verify()
    assert len(mock.sent) == 1


def test_hooks_and_a_signer_are_those_of_the_real_one(email):
    class Marked(Interceptor):
        def before_send(self, email):
            return email.model_copy(update={"subject": "marked"})

    class Signed:
        def sign(self, content, timestamp):
            return Content(b"X-Signed: yes\r\n" + content.data)

    told = []
    mock = MockSmtpClient(observers=told.append, interceptors=[Marked()], signer=Signed())
    mock.expect_send(subject="marked", where=lambda mail: mail.message["X-Signed"] == "yes")
    mock.send(email())
    mock.verify()
    assert told
