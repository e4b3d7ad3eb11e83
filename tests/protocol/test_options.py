"""What a mail asks for besides: said where the server offers it, and never left out silently."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_transport.connection import Connection
from smtp_transport.envelope import Content, Envelope, Transaction
from smtp_transport.errors import ErrorKind
from smtp_transport.options import DeliverBy, DeliveryOptions, Notify, Return, Tracking
from smtp_transport.phase import Phase
from smtp_transport.protocol import grammar, parameters
from smtp_transport.protocol.capabilities import Capabilities
from smtp_transport.protocol.commands import Rcpt
from tests.protocol.mails import BOB, CONTENT, GO, MAIL, OK, QUEUED, WHOLE, Start, facts, receipts
from tests.protocol.script import GREETED, Fault, ScriptedStream, Step, make_config, make_transaction

REST = ("DATA", GO, CONTENT, ".", QUEUED)
NOON = datetime(2030, 1, 2, 12, 0, 0, 999, tzinfo=timezone(timedelta(hours=2)))


def asking(**options: object) -> Transaction:
    envelope = Envelope("ann@example.com", ("bob@example.com",))
    return Transaction(envelope, lambda _: Content(b"Subject: hi\r\n\r\nhello\r\n"), DeliveryOptions(**options))


@pytest.mark.parametrize(
    ("offer", "options", "mail", "rcpt"),
    [
        ("DSN", {"ret": Return.HEADERS, "envelope_id": "a+b= c"}, "RET=HDRS ENVID=a+2Bb+3D+20c", ""),
        ("DSN", {"notify": frozenset({Notify.SUCCESS, Notify.DELAY})}, "", "NOTIFY=DELAY,SUCCESS"),
        ("DSN", {"notify": frozenset({Notify.NEVER})}, "", "NOTIFY=NEVER"),
        ("DSN", {"original_recipients": ("r+1=x@example.org",)}, "", "ORCPT=rfc822;r+2B1+3Dx@example.org"),
        ("DSN", {"original_recipients": ("jörg+@example.org",)}, "", r"ORCPT=utf-8;j\x{F6}rg\x{2B}@example.org"),
        ("DELIVERBY 60", {"deliver_by": DeliverBy(120)}, "BY=120;R", ""),
        ("DELIVERBY", {"deliver_by": DeliverBy(-5, notify_only=True, trace=True)}, "BY=-5;NT", ""),
        ("DELIVERBY 60", {"deliver_by": DeliverBy(5, notify_only=True)}, "BY=5;N", ""),
        ("MT-PRIORITY MIXER", {"priority": -4}, "MT-PRIORITY=-4", ""),
        (
            ("MTRK", "DSN"),
            {"tracking": Tracking.of(b"0123456789abcdef", 60), "envelope_id": "x@example.com"},
            # printf 0123456789abcdef | openssl dgst -sha1 -binary | base64
            "ENVID=x@example.com MTRK=/lVn6NdpVQhSGCzfaddLsW3/jik:60",
            "",
        ),
        (("MTRK", "DSN"), {"tracking": Tracking("aA+/"), "envelope_id": "x"}, "ENVID=x MTRK=aA+/", ""),
        ("FUTURERELEASE 3600 2035-01-01T00:00:00Z", {"hold_for": 3600}, "HOLDFOR=3600", ""),
        ("FUTURERELEASE 3600 2035-01-01T00:00:00Z", {"hold_until": NOON}, "HOLDUNTIL=2030-01-02T10:00:00Z", ""),
    ],
)
def test_a_wish_is_said_as_its_rfc_writes_it(
    play: Start, offer: str | tuple[str, ...], options: dict[str, object], mail: str, rcpt: str
) -> None:
    offers = (offer,) if isinstance(offer, str) else offer
    played = play(f"{MAIL} {mail}".rstrip(), OK, f"{BOB} {rcpt}".rstrip(), OK, *REST, offers=offers)
    (receipt,) = receipts(played.connection, asking(**options))
    assert receipt.accepted


@pytest.mark.parametrize(
    ("offer", "options"),
    [
        ("X", {"ret": Return.FULL}),
        ("X", {"envelope_id": "x"}),
        ("X", {"notify": frozenset({Notify.FAILURE})}),
        ("X", {"original_recipients": ("bob@example.org",)}),
        ("BINARYMIME", {"binary": True}),
        ("CHUNKING", {"binary": True}),
        ("REQUIRETLS", {"require_tls": True}),
        ("X", {"deliver_by": DeliverBy(120)}),
        ("DELIVERBY 121", {"deliver_by": DeliverBy(120)}),
        ("X", {"priority": 0}),
        ("DSN", {"tracking": Tracking("aA+/"), "envelope_id": "x"}),
        ("X", {"hold_for": 60}),
        ("FUTURERELEASE 59 2035-01-01T00:00:00Z", {"hold_for": 60}),
        ("FUTURERELEASE 60 2029-01-01T00:00:00Z", {"hold_until": NOON}),
    ],
)
def test_a_mail_does_not_go_where_its_wish_cannot_be_granted(
    play: Start, offer: str, options: dict[str, object]
) -> None:
    played = play(*WHOLE, offers=(offer,))
    bad, good = receipts(played.connection, asking(**options), make_transaction())
    assert bad.error
    assert (bad.error.kind, bad.error.phase) == (ErrorKind.CAPABILITY_MISMATCH, Phase.MAIL)
    assert facts(bad) == [("bob", Phase.MAIL, None)]
    assert good.accepted


def test_requiretls_is_said_under_tls_alone() -> None:
    capabilities = Capabilities({"REQUIRETLS": ()})
    wish = DeliveryOptions(require_tls=True)
    assert parameters.of_mail(wish, capabilities, under_tls=True) == (("REQUIRETLS", None),)


@pytest.mark.parametrize(
    ("checks", "goes"),
    [
        ({}, True),
        ({"accept_invalid_certs": True, "pinned_certs": "ab" * 32}, True),
        ({"accept_invalid_certs": True}, False),
        ({"verify_hostname": False}, False),
        ({"development": True, "allow_self_signed": True}, False),
    ],
)
def test_requiretls_is_said_to_a_server_that_has_proven_who_it_is(checks: dict[str, object], *, goes: bool) -> None:
    offer = b"250-mx\r\n250-REQUIRETLS\r\n250 STARTTLS\r\n"
    sent: tuple[Step, ...] = (f"{MAIL} REQUIRETLS", OK, BOB, OK, *REST) if goes else ()
    shaken: tuple[Step, ...] = (offer, "STARTTLS", b"220 go\r\n", Fault.TLS, "EHLO client.example.com", offer)
    stream = ScriptedStream(*GREETED, *shaken, *sent)
    connection = Connection.over(stream, make_config(tls="starttls", tls_config=checks))
    (receipt,) = receipts(connection, asking(require_tls=True))
    assert bool(receipt.accepted) is goes
    assert goes or (receipt.error and receipt.error.kind is ErrorKind.CAPABILITY_MISMATCH)
    assert stream.done


@pytest.mark.parametrize(
    "options",
    [
        {"envelope_id": ""},
        {"envelope_id": "x" * 101},
        {"envelope_id": "a\r\nRSET"},
        {"envelope_id": "ü"},
        {"notify": frozenset({Notify.NEVER, Notify.DELAY})},
        {"original_recipients": ("a@b\r\nRSET",)},
        {"tracking": Tracking("aA+/")},
        {"tracking": "aA+/", "envelope_id": "x"},
        {"priority": 10},
        {"hold_for": 0},
        {"hold_for": 1, "hold_until": NOON},
        {"hold_until": datetime(2030, 1, 1)},  # noqa: DTZ001 - the point of it
        {"hold_until": "2030-01-01"},
        {"hold_until": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))},
        {"hold_until": datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-12)))},
        {"notify": Notify.FAILURE},
        {"notify": None},
        {"original_recipients": 5},
        {"hold_for": 1.5},
        {"priority": "3"},
        {"priority": True},
        {"ret": "FULL"},
        {"notify": {"NEVER"}},
        {"notify": "NEVER"},
        {"envelope_id": 7},
        {"deliver_by": 60},
        {"binary": "no"},
        {"require_tls": 1},
        {"original_recipients": "one@example.org"},
        {"original_recipients": [None]},
        {"original_recipients": {"one@example.org": "first@example.org"}},
        {"original_recipients": {"one@example.org", "two@example.org"}},
    ],
)
def test_a_wish_that_no_server_could_read_is_refused_when_it_is_made(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        DeliveryOptions(**options)


@pytest.mark.parametrize("seconds", [0, -1, 10**9, 1.5, "60", True])
def test_a_deadline_in_the_past_cannot_bring_a_mail_back(seconds: int) -> None:
    with pytest.raises(ValueError, match="seconds"):
        DeliverBy(seconds)


def test_an_original_recipient_of_nobody_concerns_its_mail_alone(play: Start) -> None:
    played = play(*WHOLE, offers=("DSN",))
    too_many = asking(original_recipients=["one@example.org", "two@example.org"])
    bad, good = receipts(played.connection, too_many, make_transaction())
    assert bad.error
    assert bad.error.kind is ErrorKind.INVALID_RECIPIENT_ADDRESS
    assert good.accepted


def test_a_repr_shows_no_address() -> None:
    shown = repr(DeliveryOptions(envelope_id="secret", original_recipients=("bob@example.org",)))
    assert "secret" not in shown
    assert "bob" not in shown


def test_an_original_recipient_too_long_for_a_line_concerns_its_mail_alone(play: Start) -> None:
    played = play(*WHOLE, offers=("DSN",))
    bad, good = receipts(
        played.connection, asking(original_recipients=("ü" * 300 + "@example.org",)), make_transaction()
    )
    assert bad.error
    assert bad.error.kind is ErrorKind.INVALID_RECIPIENT_ADDRESS
    assert good.accepted


PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=100)


@given(text=PRINTABLE)
def test_xtext_can_be_read_back_and_ends_no_parameter(text: str) -> None:
    written = grammar.xtext(text)
    assert grammar.PARAMETER_VALUE.fullmatch(written)
    parts = written.split("+")
    assert parts[0] + "".join(chr(int(part[:2], 16)) + part[2:] for part in parts[1:]) == text


@given(address=st.text(max_size=40))
def test_no_original_recipient_can_hold_a_second_parameter(address: str) -> None:
    try:
        options = DeliveryOptions(original_recipients=(address,))
    except ValueError:
        return
    line = Rcpt("bob@example.com", parameters=parameters.of_recipient(options, 0)).to_bytes()
    assert line.count(b"\r") == line.count(b"\n") == 1
    assert line.count(b" ") == (2 if address else 1)
    assert line.count(b"=") == (1 if address else 0)


def test_the_bounds_of_servers_are_typed() -> None:
    offered = Capabilities({"FUTURERELEASE": ("60", "soon"), "DELIVERBY": ("x",)})
    assert (offered.longest_hold, offered.latest_release, offered.least_deliver_by) == (60, None, None)
    offered = Capabilities({"FUTURERELEASE": ("60", "2035-01-01T00:00:00Z")})
    assert offered.latest_release == datetime(2035, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"certifier": "aA="}, "without padding"),
        ({"certifier": ""}, "without padding"),
        ({"certifier": "a b"}, "without padding"),
        ({"certifier": b"aA"}, "without padding"),
        ({"certifier": "aA", "timeout": 0}, "timeout"),
        ({"certifier": "aA", "timeout": True}, "timeout"),
    ],
)
def test_a_tracking_that_no_server_could_read_is_refused(fields: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Tracking(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("secret", [b"x" * 15, "x" * 16])
def test_a_secret_to_track_by_is_long_and_not_kept(secret: object) -> None:
    """NF-SEC-01."""
    with pytest.raises(ValueError, match="16 random octets"):
        Tracking.of(secret)  # type: ignore[arg-type]
    assert "abcdef" not in repr(Tracking.of(b"0123456789abcdef"))
