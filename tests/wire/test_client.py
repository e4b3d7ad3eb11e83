from email.message import EmailMessage
from functools import partial

import pytest

from smtp_transport import (
    CancelledError,
    Connection,
    DkimSigner,
    Email,
    ErrorKind,
    Interceptor,
    MessageError,
    Noop,
    Phase,
    PoolConfig,
    SendResult,
    SmtpClient,
    SmtpConfig,
    SmtpConnectionError,
    SmtpError,
    Transaction,
    envelope_of,
    render,
)
from smtp_transport.testing import (
    Behave,
    Close,
    Expect,
    ExpectContent,
    FaultServer,
    Say,
    Stall,
    behaved,
    greeted,
    mail_taken,
    quit_said,
)

EMAIL = Email(from_="me@example.com", to="you@example.org", text_body="Hi.")
both_modes = pytest.mark.parametrize("capabilities", [(), ("PIPELINING",)], ids=["lockstep", "pipelined"])


@pytest.fixture
def transactions(email):
    """Give mails for the wire, one for each recipient."""

    def make(*recipients):
        emails = [email(r, message_id=f"<{number}@example.com>") for number, r in enumerate(recipients)]
        return [Transaction(envelope_of(e), lambda eight_bit, e=e: render(e, eight_bit=eight_bit)) for e in emails]

    return make


@both_modes
def test_a_mail_is_sent_and_its_result_tells_all(client_for, email, capabilities):
    """F-SEND-01, F-CONN-02."""
    script = [*greeted(*capabilities), *mail_taken("you@example.org", server_id="QUEUE7"), *quit_said()]
    with FaultServer(script) as server:
        client = client_for(server)
        result = client.send(email(message_id="<fixed@example.com>"))
        client.shutdown()
        server.wait_until(lambda: server.conversations[0].is_over)
    assert result.message_id == "<fixed@example.com>"
    assert result.server_id == "QUEUE7"
    assert result.accepted == ("you@example.org",)
    assert result.rejected == ()
    assert result.response == "queued as QUEUE7"
    assert result.duration > 0
    assert result.is_complete_success
    assert not result.is_partial_success
    assert b"Message-ID: <fixed@example.com>" in server.conversations[0].contents[0]


@both_modes
def test_a_refused_recipient_does_not_stop_the_others(client_for, email, capabilities):
    """F-SEND-06, F-SEND-07."""
    replies = {"RCPT TO:<bad@": "550 5.1.1 no such user", "RCPT TO:<later@": "450 full"}
    with FaultServer(behaved(*capabilities, replies=replies)) as server:
        result = client_for(server).send(
            email("a@example.org", "bad@example.org", "later@example.org", "b@example.org")
        )
    assert result.accepted == ("a@example.org", "b@example.org")
    assert [(r.address, r.code, r.enhanced_code, r.message) for r in result.rejected] == [
        ("bad@example.org", 550, "5.1.1", "no such user"),
        ("later@example.org", 450, None, "full"),
    ]
    assert result.is_partial_success
    assert not result.is_complete_success
    assert "example.org" not in repr(result)


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        ({"RCPT": "550 5.1.1 <you@example.org> unknown"}, (ErrorKind.INVALID_RECIPIENT_ADDRESS, 550, False)),
        ({"RCPT": "553 5.1.3 bad"}, (ErrorKind.INVALID_RECIPIENT_ADDRESS, 553, False)),
        ({"RCPT": "450 4.2.1 full"}, (ErrorKind.UNEXPECTED_RESPONSE, 450, True)),
        ({"RCPT": "552 5.2.2 full"}, (ErrorKind.UNEXPECTED_RESPONSE, 552, False)),
        ({"MAIL": "553 5.1.8 not you"}, (ErrorKind.INVALID_FROM_ADDRESS, 553, False)),
        ({"MAIL": "530 5.7.0 authenticate"}, (ErrorKind.AUTHENTICATION_REQUIRED, 530, False)),
        ({"MAIL": "552 5.3.4 too big"}, (ErrorKind.MESSAGE_TOO_LARGE, 552, False)),
        ({"MAIL": "451 4.3.0 later"}, (ErrorKind.UNEXPECTED_RESPONSE, 451, True)),
        ({"MAIL": "555 5.5.4 no such parameter"}, (ErrorKind.CAPABILITY_MISMATCH, 555, False)),
        ({"DATA": "503 5.5.1 sequence"}, (ErrorKind.COMMAND_SEQUENCE_ERROR, 503, False)),
        ({"DATA": "451 4.3.0 later"}, (ErrorKind.UNEXPECTED_RESPONSE, 451, True)),
        ({".": "550 5.7.1 spam"}, (ErrorKind.MESSAGE, 550, False)),
        ({".": "554 5.6.0 no"}, (ErrorKind.UNEXPECTED_RESPONSE, 554, False)),
        ({".": "452 4.3.1 no space"}, (ErrorKind.UNEXPECTED_RESPONSE, 452, True)),
    ],
)
@both_modes
def test_a_mail_for_nobody_is_an_error_that_says_why_and_keeps_the_link(
    client_for, email, capabilities, replies, expected
):
    """NF-OBS-04."""
    with FaultServer([Say("220 hi"), Behave(capabilities, replies)]) as server:
        client = client_for(server)
        with pytest.raises(SmtpError) as failed:
            client.send(email())
        assert client.pool_status().idle == 1
    error = failed.value
    assert (error.kind, error.code, error.is_retryable) == expected
    assert error.enhanced_code is not None
    assert "example.org" not in str(error)


def test_of_two_refusals_the_hopeful_one_is_told(client_for, email):
    replies = {"RCPT TO:<never@": "550 5.1.1 no", "RCPT TO:<later@": "450 4.2.0 wait"}
    with FaultServer(behaved(replies=replies)) as server, pytest.raises(SmtpError) as failed:
        client_for(server).send(email("never@example.org", "later@example.org"))
    assert failed.value.code == 450


def test_date_and_message_id_are_fixed_when_they_are_missing(client_for, email):
    """F-MIME-06."""
    with FaultServer(behaved()) as server:
        client = client_for(server)
        results = [client.send(email(date=None)) for _ in range(2)]
    first, second = server.conversations[0].contents
    assert results[0].message_id != results[1].message_id
    assert results[0].message_id.encode() in first
    assert results[0].message_id.endswith("@example.com>")
    assert b"\r\nDate: " in b"\r\n" + second


def test_a_batch_keeps_order_over_one_link_and_gathers_errors(client_for, email):
    """F-SEND-08."""
    with FaultServer(behaved("PIPELINING", replies={"RCPT TO:<bad@": "550 5.1.1 no"})) as server:
        batch = client_for(server).send_batch(
            [email("a@example.org"), email("bad@example.org"), email("b@example.org")]
        )
    assert [type(result) for result in batch.results] == [SendResult, MessageError, SendResult]
    assert batch.results[2].accepted == ("b@example.org",)
    assert (batch.total, batch.succeeded, batch.failed) == (3, 2, 1)
    assert batch.duration > 0
    assert len(server.conversations) == 1


def test_a_batch_goes_on_when_a_link_is_lost_and_sends_nothing_twice(client_for, email):
    """F-SEND-08, NF-REL-03."""
    breaking = [*greeted(), *mail_taken("a@example.org"), Expect("MAIL"), Say("250 ok"), Expect("RCPT"), Say("250 ok")]
    breaking += [Expect("DATA"), Say("354 go on"), ExpectContent(), Close()]
    with FaultServer(breaking, [*greeted(), *mail_taken("c@example.org")]) as server:
        client = client_for(server)
        batch = client.send_batch([email(f"{name}@example.org") for name in "abc"])
    assert [isinstance(result, SendResult) for result in batch.results] == [True, False, True]
    assert batch.results[1].phase is Phase.DOT
    assert len(server.conversations) == 2


def test_a_batch_for_a_server_that_is_away_has_the_reason_for_each(client_for, email):
    with FaultServer([]) as server:
        client = client_for(server)
    batch = client.send_batch([email(), email()])
    assert [result.kind for result in batch.results] == [ErrorKind.CONNECTION_REFUSED] * 2
    assert batch.failed == 2
    assert client.send_batch([]).total == 0


GONE = [
    pytest.param([Expect("MAIL"), Say("421 4.4.2 idle too long"), Close()], id="421 to MAIL"),
    pytest.param([Say("421 4.4.2 idle too long"), Close()], id="421 unasked"),
    pytest.param([Close()], id="closed"),
    pytest.param([Expect("MAIL"), Say("250 ok"), Expect("RCPT"), Say("421 4.3.2 down"), Close()], id="421 to RCPT"),
]


@pytest.mark.parametrize("gone", GONE)
@both_modes
def test_a_link_that_went_while_it_was_idle_costs_a_fresh_link_and_not_the_mail(client_for, email, capabilities, gone):
    """F-CONN-05, NF-REL-03."""
    first = [*greeted(*capabilities), *mail_taken("a@example.org"), *gone]
    with FaultServer(first, [*greeted(*capabilities), *mail_taken("b@example.org")]) as server:
        client = client_for(server)
        assert client.send(email("a@example.org")).is_complete_success
        if not isinstance(gone[0], Expect):
            server.wait_until(lambda: server.conversations[0].is_over)
        assert client.send(email("b@example.org")).is_complete_success
        assert client.pool_status().total == 1
    assert len(server.conversations) == 2


def test_a_server_that_takes_few_mails_a_session_gets_them_in_more_sessions(client_for, email):
    session = [*greeted("PIPELINING")]
    full = [Expect("MAIL"), Say("421 4.7.0 too many mails in this session"), Close()]
    scripts = [[*session, *mail_taken(f"{n}@example.org"), *full] for n in range(3)]
    with FaultServer(*scripts) as server:
        batch = client_for(server).send_batch([email(f"{n}@example.org") for n in range(3)])
    assert batch.succeeded == 3


def test_a_fresh_link_that_fails_is_not_tried_again(client_for, email):
    script = [*greeted(), Expect("MAIL"), Say("421 4.3.2 down"), Close()]
    with FaultServer(script) as server, pytest.raises(SmtpError) as failed:
        client_for(server).send(email())
    assert failed.value.kind is ErrorKind.SERVER_SHUTDOWN
    assert len(server.conversations) == 1


def test_if_no_fresh_link_can_be_had_its_error_is_told(client_for, email):
    first = [*greeted(), *mail_taken("a@example.org"), Close()]
    with FaultServer(first, [Say("554 5.3.2 no more")]) as server:
        client = client_for(server)
        client.send(email("a@example.org"))
        server.wait_until(lambda: server.conversations[0].is_over)
        with pytest.raises(SmtpError) as failed:
            client.send(email("b@example.org"))
    assert (failed.value.code, failed.value.phase) == (554, Phase.GREETING)


@both_modes
def test_a_mail_without_permission_is_not_committed(client_for, transactions, capabilities):
    asked = []

    def permit(positions):
        asked.extend(positions)
        return [p for p in positions if p != 1]

    with FaultServer(behaved(*capabilities), strict=False) as server:
        receipts = list(
            client_for(server).deliver(transactions("a@example.org", "b@example.org", "c@example.org"), permit)
        )
    assert asked == [0, 1]
    assert [position for position, _ in receipts] == [0, 1]
    assert receipts[0][1].accepted == ("a@example.org",)
    assert isinstance(receipts[1][1].error, CancelledError)
    assert receipts[1][1].error.phase is Phase.BODY
    assert len(server.conversations[0].contents) == 1


def test_permission_is_asked_for_positions_of_the_whole_sequence(client_for, transactions):
    asked = []

    def permit(positions):
        asked.extend(positions)
        return positions

    first = [*greeted(), *mail_taken("a@example.org"), Expect("MAIL"), Say("421 bye"), Close()]
    with FaultServer(first, [*greeted(), *mail_taken("b@example.org"), *mail_taken("c@example.org")]) as server:
        receipts = list(
            client_for(server).deliver(transactions("a@example.org", "b@example.org", "c@example.org"), permit)
        )
    assert asked == [0, 1, 2]
    assert [position for position, _ in receipts] == [0, 1, 2]
    assert all(receipt.accepted for _, receipt in receipts)


def test_mails_not_begun_get_no_receipt(client_for, transactions):
    lost = [*greeted(), Expect("MAIL"), Say("250 ok"), Expect("RCPT"), Say("250 ok"), Expect("DATA"), Close()]
    with FaultServer(lost) as server:
        receipts = list(client_for(server).deliver(transactions("a@example.org", "b@example.org")))
    assert [position for position, _ in receipts] == [0]
    assert receipts[0][1].error.phase is Phase.DATA


def test_a_caller_that_stops_listening_gives_the_link_back(client_for, transactions):
    with FaultServer(behaved()) as server:
        client = client_for(server)
        delivering = client.deliver(transactions("a@example.org", "b@example.org"))
        next(delivering)
        assert client.pool_status().in_use == 1
        delivering.close()
        assert (client.pool_status().in_use, client.pool_status().idle) == (0, 1)


def test_no_link_no_receipts_but_an_error(client_for, transactions):
    with FaultServer([]) as server:
        client = client_for(server)
    with pytest.raises(SmtpConnectionError) as failed:
        list(client.deliver(transactions("a@example.org")))
    assert failed.value.phase is Phase.CONNECT


def test_a_connection_is_tested_without_sending(client_for):
    with FaultServer(behaved("PIPELINING", "SIZE 1000")) as server:
        client = client_for(server)
        info = client.test_connection()
        assert client.connection_info() is None
    assert (info.host, info.port, info.tls_active, info.authenticated_as) == (server.host, server.port, False, None)
    assert info.capabilities.max_size == 1000
    assert info.banner == "fault.test ESMTP"
    assert server.conversations[0].verbs[0] == "EHLO"
    assert "MAIL" not in server.conversations[0].verbs


def test_a_tested_connection_is_alive(client_for, email):
    """F-CONN-05."""
    first = [*greeted(), *mail_taken("you@example.org"), Expect("NOOP"), Close()]
    with FaultServer(first, behaved()) as server:
        client = client_for(server)
        client.send(email())
        assert client.test_connection() == client.connection_info()
    assert len(server.conversations) == 2


def test_shutdown_says_quit_and_ends_the_client(client_for, email):
    """F-CONN-06."""
    with FaultServer([*greeted(), *mail_taken("you@example.org"), *quit_said()]) as server:
        with client_for(server) as client:
            client.send(email())
        server.wait_until(lambda: server.conversations[0].is_over)
        client.shutdown()
        with pytest.raises(CancelledError):
            client.send(email())
        assert client.pool_status().total == 0
    assert server.conversations[0].verbs[-1] == "QUIT"


def test_a_server_that_does_not_answer_quit_holds_nobody_up(client_for, email):
    """F-CONN-06."""
    with FaultServer([*greeted(), *mail_taken("you@example.org"), Expect("QUIT"), Stall()]) as server:
        client = client_for(server, io_timeout=0.4)
        client.send(email())
        client.shutdown()
        assert client.pool_status().total == 0


def test_limits_change_at_run_time(client_for):
    with FaultServer(behaved()) as server:
        client = client_for(server)
        client.configure(PoolConfig(max_connections=2))
        assert client.pool_status().max_size == 2


def test_a_mail_over_the_limit_never_reaches_the_server(client_for, email):
    with FaultServer(behaved("SIZE 100000")) as server:
        client = client_for(server, max_message_size=1000)
        with pytest.raises(MessageError) as refused:
            client.send(email(text_body="x" * 2000))
        assert client.send(email()).is_complete_success
    assert refused.value.kind is ErrorKind.MESSAGE_TOO_LARGE
    assert server.conversations[0].verbs.count("MAIL") == 1


def test_pipelining_may_be_forbidden(client_for, email):
    with FaultServer([*greeted("PIPELINING"), Expect("MAIL"), Stall()]) as server:
        client = client_for(server, pipelining=False, io_timeout=0.4)
        with pytest.raises(SmtpError):
            client.send(email())
    assert server.conversations[0].verbs == ["EHLO", "MAIL"]


@pytest.mark.parametrize("field", ["from_", "to", "text_body"])
def test_an_email_that_was_changed_behind_its_checks_costs_no_other(client_for, email, field):
    """NF-SEC-04."""
    emails = [email(), email(), email()]
    evil = "x@example.org>\r\nRSET"
    if field == "text_body":
        vars(emails[1])["text_body"] = "\ud800"
    else:
        address = emails[1].from_ if field == "from_" else emails[1].to[0]
        object.__setattr__(address, "email", evil)
    with FaultServer(behaved()) as server:
        with client_for(server) as client:
            batch = client.send_batch(emails)
        assert [isinstance(result, MessageError) for result in batch.results] == [False, True, False]
        assert "RSET" not in server.conversations[0].verbs


@pytest.mark.parametrize("nothing", ["From: a@example.com", 5, None])
def test_what_is_no_mail_is_told_by_its_type(client_for, nothing):
    with FaultServer(behaved()) as server, client_for(server) as client:
        with pytest.raises(TypeError, match=f"this is {type(nothing).__name__}"):
            client.send(nothing)
        assert server.conversations == []


def test_a_batch_may_be_made_while_it_is_asked_for(client_for, email):
    with FaultServer(behaved("PIPELINING")) as server:
        batch = client_for(server).send_batch(email(f"{name}@example.org") for name in "abc")
    assert [result.accepted for result in batch.results] == [(f"{name}@example.org",) for name in "abc"]


@pytest.mark.parametrize("connections", [0, -1])
def test_a_batch_goes_over_one_connection_at_least(client_for, email, connections):
    with FaultServer(behaved()) as server, pytest.raises(ValueError, match="connections: from 1 on"):
        client_for(server).send_batch([email()], connections=connections)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"interceptors": Interceptor()}, "interceptors: give a list"),
        ({"interceptors": [Interceptor]}, "not the class Interceptor"),
        ({"interceptors": [print]}, "not builtin_function_or_method"),
        ({"signer": "key.pem"}, "signer: give an object with a method `sign`"),
        ({"signer": DkimSigner}, "signer: give an object"),
        ({"host_limits": 3}, "host_limits has to be of type HostLimits, and this is int"),
        ({"observers": None}, "NoneType is none"),
        ({"observers": [3]}, "int cannot be called"),
    ],
)
def test_what_is_to_stand_beside_a_client_is_looked_at_when_it_is_made(given, told):
    with pytest.raises(TypeError, match=told):
        SmtpClient(SmtpConfig(host="localhost", tls="none"), **given)


@pytest.mark.parametrize("opening", [lambda _: None, partial(Connection.open, dialer=lambda *_: None)])
def test_a_way_that_leads_to_nothing_is_told(opening):
    client = SmtpClient(SmtpConfig(host="localhost", tls="none"), opening)
    with pytest.raises(TypeError, match="gave None"):
        client.send(EMAIL)
    assert client.pool_status().total == 0


def test_one_observer_needs_no_list(config_for, email):
    events = []
    with FaultServer(behaved()) as server, SmtpClient(config_for(server), observers=events.append) as client:
        client.send(email())
    assert events


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda _: SmtpClient("smtp.example.com"), "config has to be of type SmtpConfig, and this is str"),
        (lambda _: SmtpClient(SmtpConfig), "config has to be of type SmtpConfig, and this is the class SmtpConfig"),
        (
            lambda client: client.send_batch([], {"priority": 3}),
            "options has to be of type DeliveryOptions, and this is dict",
        ),
        (lambda client: client.send_batch(EMAIL), "emails: give a list; this is one Email"),
        (lambda client: client.send_batch(b"From: me@example.com\r\n\r\nhi\r\n"), "this is one bytes"),
        (lambda client: client.send_batch(EmailMessage()), "this is one EmailMessage"),
        (
            lambda client: list(client.deliver([EMAIL])),
            "each of transactions has to be of type Transaction, and this is E",
        ),
        (lambda client: client.command("NOOP"), "command has to be of type Command, and this is str"),
        (lambda client: client.command(Noop), "command has to be of type Command, and this is the class Noop"),
        (
            lambda client: client.configure({"max_connections": 1}),
            "pool has to be of type PoolConfig, and this is dict",
        ),
    ],
)
def test_what_a_client_cannot_use_is_told_before_anything_is_opened(client_for, wrong, told):
    with FaultServer(behaved()) as server:
        client = client_for(server)
        with pytest.raises(TypeError, match=told):
            wrong(client)
        assert repr(client) == f"<SmtpClient of 127.0.0.1:{server.port}>"
        assert server.conversations == []
