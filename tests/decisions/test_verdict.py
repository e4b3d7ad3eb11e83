"""What the wire said becomes what it means, row by row of the design's table."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailworker.verdict import Fate, Scope, is_credentials_refusal, judge
from smtp_transport.errors import (
    AuthenticationError,
    CancelledError,
    ErrorKind,
    MessageError,
    ProtocolError,
    SmtpConnectionError,
    SmtpError,
    SmtpTimeoutError,
)
from smtp_transport.phase import Phase
from smtp_transport.receipt import Receipt, RecipientReceipt
from smtp_transport.reply import Reply


def verdict_on(phase: Phase, reply: Reply | None = None, error: SmtpError | None = None):
    (verdict,) = judge(Receipt((RecipientReceipt("ann@example.org", phase, reply),), error))
    return verdict


@pytest.mark.parametrize(
    ("phase", "code", "fate", "scope"),
    [
        (Phase.DOT, 250, Fate.DELIVERED, Scope.RECIPIENT),
        (Phase.RCPT, 450, Fate.DEFERRED, Scope.RECIPIENT),
        (Phase.RCPT, 552, Fate.DEFERRED, Scope.RECIPIENT),
        (Phase.RCPT, 550, Fate.BOUNCED, Scope.RECIPIENT),
        (Phase.MAIL, 451, Fate.DEFERRED, Scope.MAIL),
        (Phase.MAIL, 553, Fate.BOUNCED, Scope.MAIL),
        (Phase.DATA, 452, Fate.DEFERRED, Scope.MAIL),
        (Phase.DATA, 554, Fate.BOUNCED, Scope.MAIL),
        (Phase.DOT, 451, Fate.DEFERRED, Scope.MAIL),
        (Phase.DOT, 552, Fate.BOUNCED, Scope.MAIL),
        (Phase.DOT, 554, Fate.BOUNCED, Scope.MAIL),
    ],
)
def test_a_reply_means_what_the_table_says(phase, code, fate, scope):
    verdict = verdict_on(phase, Reply(code, None, ("said so",)))
    assert (verdict.fate, verdict.scope, verdict.code) == (fate, scope, code)


@pytest.mark.parametrize("phase", list(Phase))
def test_421_always_speaks_of_the_relay_and_never_bounces(phase):
    verdict = verdict_on(phase, Reply(421, "4.3.2", ("closing",)))
    assert (verdict.fate, verdict.scope) == (Fate.DEFERRED, Scope.RELAY)


@pytest.mark.parametrize("code", [530, 534, 535, 538])
def test_missing_authentication_bounces_no_mail(code):
    verdict = verdict_on(Phase.MAIL, Reply(code, "5.7.0", ("authentication required",)))
    assert (verdict.fate, verdict.scope) == (Fate.DEFERRED, Scope.RELAY)


_LINK_ERRORS = [
    SmtpConnectionError("link lost", ErrorKind.CONNECTION_RESET),
    SmtpTimeoutError("no answer", ErrorKind.READ_TIMEOUT),
    ProtocolError("garbage", ErrorKind.INVALID_RESPONSE),
]


@pytest.mark.parametrize(("phase", "error"), list(itertools.product([p for p in Phase if p < Phase.DOT], _LINK_ERRORS)))
def test_a_broken_link_before_the_final_dot_only_defers(phase, error):
    verdict = verdict_on(phase, None, error)
    assert (verdict.fate, verdict.scope) == (Fate.DEFERRED, Scope.RELAY)


@pytest.mark.parametrize("error", _LINK_ERRORS)
def test_from_the_final_dot_on_nobody_knows(error):
    verdict = verdict_on(Phase.DOT, None, error)
    assert (verdict.fate, verdict.scope) == (Fate.IN_DOUBT, Scope.RELAY)


def test_a_mail_that_no_server_could_take_bounces_alone():
    too_large = verdict_on(Phase.MAIL, None, MessageError("too large", ErrorKind.MESSAGE_TOO_LARGE))
    no_utf8 = verdict_on(
        Phase.MAIL, None, ProtocolError("no SMTPUTF8", ErrorKind.CAPABILITY_MISMATCH, phase=Phase.MAIL)
    )
    assert {too_large.fate, no_utf8.fate} == {Fate.BOUNCED}
    assert {too_large.scope, no_utf8.scope} == {Scope.MAIL}


def test_a_mail_that_the_ledger_held_back_is_not_the_relays_fault():
    verdict = verdict_on(Phase.BODY, None, CancelledError("not permitted"))
    assert (verdict.fate, verdict.scope) == (Fate.DEFERRED, Scope.MAIL)


@given(
    phase=st.sampled_from(Phase),
    code=st.integers(200, 599) | st.none(),
    kind=st.sampled_from(ErrorKind) | st.none(),
)
def test_every_situation_has_exactly_one_meaning(phase, code, kind):
    reply = Reply(code) if code is not None else None
    error = SmtpError("it broke", kind) if kind is not None else None
    verdict = verdict_on(phase, reply, error)
    assert (verdict.fate is Fate.DELIVERED) == (phase is Phase.DOT and reply is not None and reply.is_positive)
    if phase < Phase.MAIL and reply is None and not isinstance(error, MessageError):
        assert verdict.fate in {Fate.DEFERRED, Fate.BOUNCED}
    if verdict.scope is Scope.RELAY:
        assert verdict.fate is not Fate.BOUNCED


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Greylisted, please try again in 300 seconds", 300.0),
        ("try again after 5 minutes", 300.0),
        ("wait 2 hours", 7200.0),
        ("come back later", None),
        ("in 10 parsecs", None),
    ],
)
def test_a_server_that_says_how_long_to_wait_is_heard(text, seconds):
    assert verdict_on(Phase.RCPT, Reply(450, None, (text,))).wait_seconds == seconds


def test_a_refusal_that_quotes_an_address_is_masked():
    verdict = verdict_on(Phase.RCPT, Reply(550, "5.1.1", ("<ann.lee@example.org>: no such user ann.lee@example.org",)))
    assert "ann.lee" not in verdict.text
    assert "a***@example.org" in verdict.text


def test_only_refused_credentials_call_for_a_person():
    assert is_credentials_refusal(AuthenticationError("no", ErrorKind.CREDENTIALS_INVALID))
    assert not is_credentials_refusal(SmtpConnectionError("gone", ErrorKind.CONNECTION_REFUSED))
