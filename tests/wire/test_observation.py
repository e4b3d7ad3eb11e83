"""What is told while mails go out: enough to see everything, nothing that is secret, and never in the way."""

import logging
import pickle
import re
import time
from collections import Counter

import pytest

from smtp_transport import (
    Connection,
    ErrorKind,
    Interceptor,
    MessageError,
    Phase,
    SmtpClient,
    SmtpConfig,
    SmtpError,
    SmtpSession,
    Transcript,
)
from smtp_transport import observation as seen
from smtp_transport.stream import open_stream
from smtp_transport.testing import (
    Close,
    Expect,
    FaultServer,
    Say,
    StartTls,
    behaved,
    greeted,
    mail_taken,
    quit_said,
)

SECRET = "hunter2-is-the-password"
LOGIN = {"credentials": {"username": "me@example.com", "password": SECRET}}


class Kept(list):
    """An observer that keeps everything."""

    def __call__(self, event):
        self.append(event)

    def of(self, kind):
        return [event for event in self if isinstance(event, kind)]


@pytest.fixture
def kept():
    return Kept()


def test_every_step_of_a_mail_is_told_in_order(client_for, email, kept):
    """F-SEND-01."""
    script = [
        *greeted("PIPELINING", "AUTH PLAIN"),
        Expect("AUTH"),
        Say("235 2.7.0 hello"),
        *mail_taken("you@example.org"),
    ]
    with FaultServer([*script, *quit_said()]) as server:
        client = client_for(server, observers=[kept], **LOGIN)
        client.send(email())
        client.shutdown()
    assert [type(event).__name__ for event in kept if not isinstance(event, seen.CommandSent | seen.ReplyReceived)] == [
        "SendStarted",
        "ConnectStarted",
        "Connected",
        "AuthStarted",
        "AuthDone",
        "PoolAcquired",
        "DataSent",
        "DeliveryDone",
        "SendDone",
        "PoolReleased",
        "Closed",
    ]
    assert [event.verb for event in kept.of(seen.CommandSent)] == ["EHLO", "AUTH", "MAIL", "RCPT", "DATA", ".", "QUIT"]
    assert [event.code for event in kept.of(seen.ReplyReceived)] == [220, 250, 235, 250, 250, 354, 250, 221]
    assert [event.transaction for event in kept.of(seen.CommandSent)] == [0, 0, 1, 1, 1, 1, 0]
    (done,) = kept.of(seen.DeliveryDone)
    assert (done.delivery, done.accepted, done.refused, done.in_doubt, done.phase, done.code, done.server_id) == (
        1,
        1,
        0,
        0,
        Phase.DOT,
        250,
        "4F0A1B",
    )
    (data,) = kept.of(seen.DataSent)
    assert data.octets == len(server.conversations[0].contents[0])


@pytest.mark.parametrize(
    "offered", [("PIPELINING", "CHUNKING"), ("PIPELINING",), ()], ids=["chunked", "streamed", "lockstep"]
)
def test_every_reply_is_told_with_its_command_in_every_mode(client_for, email, kept, offered):
    with FaultServer(behaved(*offered)) as server:
        assert client_for(server, observers=[kept]).send_batch([email(), email(), email()]).succeeded == 3
    said = [(event.verb, event.transaction) for event in kept.of(seen.CommandSent)]
    heard = [(event.verb, event.transaction) for event in kept.of(seen.ReplyReceived)]
    assert heard == [("", 0), *said]
    assert {transaction for _, transaction in said} >= {1, 2, 3}
    octets = Counter[int]()
    for event in kept.of(seen.DataSent):
        octets[event.transaction] += event.octets
    sizes = [len(content) for content in server.conversations[0].contents]
    assert [octets[transaction] for transaction in (1, 2, 3)] == sizes
    assert [event.delivery for event in kept.of(seen.DeliveryDone)] == [1, 2, 3]


def test_all_events_of_a_link_bear_its_id_and_plausible_times(client_for, email, kept, server):
    started, begun = time.time(), time.monotonic()
    client_for(server, observers=[kept]).send(email())
    took = time.monotonic() - begun
    ids = {event.connection for event in kept}
    assert ids == {"", *(event.connection for event in kept.of(seen.Connected))}
    assert len(ids) == 2
    assert all(started - 1 <= event.at <= started + took + 1 for event in kept)
    assert all(0 <= event.duration <= took for event in kept if hasattr(event, "duration"))


def test_nothing_secret_and_no_whole_address_is_told(client_for, email, kept):
    """NF-SEC-01."""
    quoting = '550 5.1.1 <bob.smith>: bob.smith@example.org or "bob.smith x"@example.org: no such user'
    script = [
        *greeted("AUTH LOGIN"),
        *(
            Expect("AUTH LOGIN"),
            Say("334 VXNlcm5hbWU6"),
            Expect(""),
            Say("334 UGFzc3dvcmQ6"),
            Expect(""),
            Say("235 ok"),
        ),
        *(Expect("MAIL"), Say("250 ok"), Expect("RCPT"), Say("250 ok"), Expect("RCPT")),
        Say(quoting),
        *(Expect("DATA"), Say("451 4.3.0 not now, me@example.com"), Close()),
    ]
    with FaultServer(script) as server:
        client = client_for(server, observers=[kept], auth_method="LOGIN", pipelining=False, **LOGIN)
        batch = client.send_batch(
            [email("ann@example.org", "bob.smith@example.org", text_body="deep secret", subject="very private")]
        )
    assert batch.failed == 1
    told = repr(list(kept))
    for secret in (SECRET, "aHVudGVy", "bob.smith", "ann@", "me@", "deep secret", "very private", "VXNlcm5hbWU6"):
        assert secret not in told, secret
    assert "MAIL FROM:<m***@example.com>" in told
    assert "b***@example.org" in told


def test_what_breaks_a_link_is_told_where_it_ends(client_for, email, kept):
    with FaultServer([*greeted(), Expect("MAIL"), Say("nonsense")]) as server, pytest.raises(SmtpError):
        client_for(server, observers=[kept]).send(email())
    (closed,) = kept.of(seen.Closed)
    assert closed.error is ErrorKind.INVALID_RESPONSE
    (done,) = kept.of(seen.DeliveryDone)
    assert (done.error, done.phase, done.accepted) == (ErrorKind.INVALID_RESPONSE, Phase.MAIL, 0)
    (ended,) = kept.of(seen.SendDone)
    assert ended.error is ErrorKind.INVALID_RESPONSE


def test_a_refused_greeting_is_told_as_what_ended_the_link(client_for, kept):
    with FaultServer([Say("554 5.7.1 not you")]) as server, pytest.raises(SmtpError):
        client_for(server, observers=[kept]).test_connection()
    assert [event.error for event in kept.of(seen.Closed)] == [ErrorKind.UNEXPECTED_RESPONSE]
    assert [event.error for event in kept.of(seen.PoolDenied)] == [ErrorKind.UNEXPECTED_RESPONSE]


def test_a_server_that_is_not_there_is_told(config_for, kept):
    with FaultServer(behaved()) as server:
        config = config_for(server, observers=[kept])
    with pytest.raises(SmtpError):
        Connection.open(config)
    assert [type(event) for event in kept] == [seen.ConnectStarted, seen.ConnectFailed]
    assert kept[1].error is ErrorKind.CONNECTION_REFUSED


def test_starttls_is_told_with_its_version(client_for, ca_file, issued, kept, email):
    with FaultServer(behaved("STARTTLS"), tls=issued("127.0.0.1")) as server:
        client = client_for(server, tls="starttls", tls_config={"ca_certs": ca_file}, observers=[kept])
        client.send(email())
    (done,) = kept.of(seen.TlsDone)
    assert (done.tls_version, done.error) == ("TLSv1.3", None)
    assert [event.verb for event in kept.of(seen.CommandSent)][:3] == ["EHLO", "STARTTLS", "EHLO"]


def test_a_handshake_that_fails_is_told(client_for, issued, kept):
    script = [*greeted("STARTTLS"), Expect("STARTTLS"), Say("220 go"), StartTls()]
    with FaultServer(script, tls=issued("127.0.0.1"), strict=False) as server, pytest.raises(SmtpError):
        client_for(server, tls="starttls", observers=[kept]).test_connection()
    assert [event.error for event in kept.of(seen.TlsDone)] == [ErrorKind.CERTIFICATE_UNTRUSTED]


def test_a_refused_login_is_told_without_its_secret(client_for, kept):
    script = [*greeted("AUTH PLAIN"), Expect("AUTH"), Say("535 5.7.8 no")]
    with FaultServer(script) as server, pytest.raises(SmtpError):
        client_for(server, observers=[kept], **LOGIN).test_connection()
    assert [(event.mechanism, event.code) for event in kept.of(seen.AuthDone)] == [("PLAIN", 535)]


def test_an_observer_that_fails_is_logged_once_and_disturbs_nobody(client_for, email, kept, server, caplog):
    def broken(event):
        raise RuntimeError("observer")

    with caplog.at_level(logging.ERROR):
        client = client_for(server, observers=[broken, kept])
        assert client.send(email()).is_complete_success
        assert client.send(email()).is_complete_success
    assert len(caplog.records) == 1
    assert len(kept.of(seen.SendDone)) == 2


def test_observers_of_the_config_and_of_the_client_all_hear(config_for, email, kept, server):
    other = Kept()
    with SmtpClient(config_for(server, observers=[other]), observers=[kept]) as client:
        client.send(email())
    assert [type(event) for event in kept] == [type(event) for event in other]


def test_a_reused_link_is_told_as_such(client_for, email, kept, server):
    client = client_for(server, observers=[kept])
    client.send(email())
    client.send(email())
    assert [event.reused for event in kept.of(seen.PoolAcquired)] == [False, True]
    assert [event.delivery for event in kept.of(seen.DeliveryDone)] == [1, 2]
    assert len({event.connection for event in kept.of(seen.DeliveryDone)}) == 1


def test_what_cannot_listen_is_refused_when_the_config_is_made():
    with pytest.raises((TypeError, ValueError), match="observer"):
        SmtpConfig(host="localhost", tls="none", observers=[3])


def test_a_configuration_with_observers_is_compared_and_shown_as_before(kept):
    plain = SmtpConfig(host="localhost", tls="none", local_hostname="a.test")
    assert plain == SmtpConfig(host="localhost", tls="none", local_hostname="a.test")
    assert plain != SmtpConfig(host="localhost", tls="none", local_hostname="a.test", observers=[kept])
    assert pickle.loads(pickle.dumps(plain)) == plain  # noqa: S301 - our own
    assert "observers" not in repr(plain)
    assert "observers" not in plain.model_dump()


def test_a_session_that_is_led_by_hand_is_told_as_well(config_for, kept):
    with FaultServer([*greeted(), *mail_taken("you@example.org"), *quit_said()]) as server:
        config = config_for(server, observers=[kept])
        session = SmtpSession.connect(open_stream(config, time.monotonic() + 10), config)
        session.send_mail("me@example.com", ["you@example.org"], b"Subject: a\r\n\r\nb\r\n")
        session.quit()
    assert [event.accepted for event in kept.of(seen.DeliveryDone)] == [1]
    assert type(kept[-1]) is seen.Closed


def test_events_cannot_be_changed():
    event = seen.TlsStarted(at=0.0, server_name="a")
    with pytest.raises(AttributeError):
        event.at = 1.0


class TestTranscript:
    def test_it_reads_like_a_conversation(self, client_for, email):
        transcript = Transcript()
        with FaultServer([*greeted("SIZE 1000"), *mail_taken("you@example.org"), *quit_said()]) as server:
            client = client_for(server, observers=[transcript])
            client.send(email())
            client.shutdown()
        lines = [re.sub(r"^\d\d:\d\d:\d\d\.\d{6} [0-9a-f]{12} ", "", line) for line in transcript.lines()]
        octets = len(server.conversations[0].contents[0])
        assert lines == [
            f"-- connecting to 127.0.0.1:{server.port}",
            "-- connected, in clear text",
            "S: 220 fault.test ESMTP",
            "C: EHLO t.test",
            "S: 250-fault.test",
            "S: 250 SIZE 1000",
            "C: MAIL FROM:<m***@example.com> SIZE",
            "S: 250 2.1.0 ok",
            "C: RCPT TO:<y***@example.org>",
            "S: 250 2.1.5 ok",
            "C: DATA",
            "S: 354 go on",
            f"C: [{octets} octets of content]",
            "C: .",
            "S: 250 2.0.0 queued as 4F0A1B",
            "C: QUIT",
            "S: 221 2.0.0 bye",
            "-- closed",
        ]

    def test_it_is_bounded_and_told_by_connection(self, client_for, email, server):
        transcript = Transcript(max_lines=4)
        client_for(server, observers=[transcript]).send(email())
        assert len(transcript.lines()) == 4
        (connection,) = transcript.connections()
        assert transcript.lines(connection) == transcript.lines()
        assert transcript.lines("another") == ()
        transcript.clear()
        assert str(transcript) == ""
        with pytest.raises(ValueError, match="max_lines"):
            Transcript(0)


class TestInterceptors:
    def test_an_email_may_be_changed_before_it_is_sent(self, client_for, config_for, email, server):
        class Stamp(Interceptor):
            def before_send(self, email):
                return email.model_copy(update={"subject": f"[test] {email.subject}"})

        with SmtpClient(config_for(server), interceptors=[Stamp(), Stamp()]) as client:
            client.send(email())
        assert b"Subject: [test] [test] Hi\r\n" in server.conversations[0].contents[0]

    def test_an_email_may_be_refused_and_the_others_go(self, config_for, email, server):
        told = []

        class NoStrangers(Interceptor):
            def before_send(self, email):
                if any("stranger" in address for address in email.recipients):
                    raise MessageError("no strangers", ErrorKind.INVALID_RECIPIENT_ADDRESS)
                return email

            def after_send(self, email, result):
                told.append((email.recipients, result))

            def on_error(self, email, error):
                told.append((email.recipients, error))

        emails = [email("a@example.org"), email("stranger@example.org"), email("b@example.org")]
        with SmtpClient(config_for(server), interceptors=[NoStrangers()]) as client:
            batch = client.send_batch(emails)
        assert [isinstance(result, MessageError) for result in batch.results] == [False, True, False]
        whose = [(given.recipients, result) for given, result in zip(emails, batch.results, strict=True)]
        assert sorted(map(str, told)) == sorted(map(str, whose))
        assert len(server.conversations[0].contents) == 2

    def test_what_an_interceptor_raises_else_reaches_the_caller_before_anything_is_sent(
        self, config_for, email, server
    ):
        class Broken(Interceptor):
            def before_send(self, email):
                raise RuntimeError("broken")

        with SmtpClient(config_for(server), interceptors=[Broken()]) as client, pytest.raises(RuntimeError):
            client.send(email())
        assert server.conversations == []

    def test_one_that_forgets_to_give_the_email_back_is_told_so(self, config_for, email, server):
        class Forgetful(Interceptor):
            def before_send(self, email):
                email.model_copy(update={"subject": "changed"})

        client = SmtpClient(config_for(server), interceptors=[Forgetful()])
        with client, pytest.raises(TypeError, match="Forgetful must give back the email"):
            client.send(email())
        assert server.conversations == []

    def test_what_it_raises_afterwards_does_not_unsend_the_email(self, config_for, email, server, caplog):
        class Broken(Interceptor):
            def after_send(self, email, result):
                raise RuntimeError("broken")

            def on_error(self, email, error):
                raise RuntimeError("broken")

        with SmtpClient(config_for(server), interceptors=[Broken()]) as client:
            assert client.send(email()).is_complete_success
        assert len(caplog.records) == 1

    def test_no_connection_is_an_error_for_each_email(self, config_for, email, kept):
        told = []

        class Count(Interceptor):
            def on_error(self, email, error):
                told.append(error.kind)

        with FaultServer(behaved()) as server:
            config = config_for(server)
        with SmtpClient(config, interceptors=[Count()], observers=[kept]) as client:
            client.send_batch([email(), email()])
        assert told == [ErrorKind.CONNECTION_REFUSED] * 2
        assert [(event.error, event.retryable) for event in kept.of(seen.SendDone)] == [
            (ErrorKind.CONNECTION_REFUSED, True)
        ] * 2


def test_an_email_without_id_has_one_in_its_events(client_for, email, kept, server):
    result = client_for(server, observers=[kept]).send(email())
    assert [event.message_id for event in kept.of(seen.SendStarted | seen.SendDone)] == [result.message_id] * 2
