"""Whole errands against a wire that is played: whatever it does, nobody gets a mail twice, and all come to an end."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_transport import (
    CancelledError,
    CircuitBreakerConfig,
    CircuitOpenError,
    Content,
    DeliveryOptions,
    Envelope,
    ErrorKind,
    Phase,
    RateLimitConfig,
    RateLimitError,
    Receipt,
    RecipientReceipt,
    Reply,
    RetryConfig,
    SmtpConfig,
    SmtpConnectionError,
    SmtpError,
    SmtpTimeoutError,
    Transaction,
)
from smtp_transport.resilience import Errand, Safeguards
from smtp_transport.resilience.health import Health
from tests.resilience.clocks import Clock

GONE = SmtpConnectionError("gone", ErrorKind.CONNECTION_RESET, phase=Phase.DATA)
UNREACHABLE = SmtpConnectionError("refused", ErrorKind.CONNECTION_REFUSED, phase=Phase.CONNECT)


def mail(*recipients, **options):
    return Transaction(
        Envelope("me@example.com", recipients),
        lambda _: Content(b""),
        DeliveryOptions(**options) if options else None,
    )


def fate(address, phase, code=None):
    return RecipientReceipt(address, phase, None if code is None else Reply(code, None, ("",)))


class Told:
    """Keeps what goes on meanwhile."""

    def __init__(self):
        self.again = []
        self.limits = []

    def retrying(self, again, delay):
        self.again.append((again.position, again.attempt, again.recipients, delay))

    def limited(self, wait, *, rejected):
        self.limits.append((wait, rejected))


class Played:
    """Answers each run with what `answer` gives: for each mail a list of fates and an error, or an error for all."""

    def __init__(self, answer):
        self.answer = answer
        self.runs = []

    def __call__(self, transactions):
        self.runs.append([each.envelope.recipients for each in transactions])
        for position, transaction in enumerate(transactions):
            told = self.answer(transaction, position)
            if isinstance(told, SmtpError):
                raise told
            if told is None:
                return
            yield position, told
            if told.error is not None:
                return


def errand(transactions, answer, clock, told=None, **config):
    config.setdefault("retry", RetryConfig(jitter=False))
    safeguards = Safeguards(SmtpConfig(host="mx.test", **config), clock=lambda: clock)
    return Errand(transactions, answer, safeguards.here(), told or Told())


def run(transactions, answer, clock, told=None, **config):
    return dict(errand(transactions, answer, clock, told, **config).outcomes())


def accepted(transaction, _=None):
    return Receipt(tuple(fate(address, Phase.DOT, 250) for address in transaction.envelope.recipients))


def test_only_those_who_have_not_got_it_are_tried_again_and_the_receipt_is_whole(clock):
    """NF-REL-01, F-SEND-07."""
    later = [450, 451, 250]
    wire = Played(
        lambda transaction, _: Receipt(
            tuple(
                fate(address, Phase.RCPT, 550)
                if address == "no"
                else fate(address, Phase.RCPT, later[len(wire.runs) - 1])
                if address == "later" and len(wire.runs) < 3
                else fate(address, Phase.DOT, 250)
                for address in transaction.envelope.recipients
            ),
            duration=1.0,
        )
    )
    told = Told()
    outcomes = run([mail("a", "later", "no", original_recipients=("A", "L"))], wire, clock, told)
    assert wire.runs == [[("a", "later", "no")], [("later",)], [("later",)]]
    assert outcomes[0].accepted == ("a", "later")
    assert [one.address for one in outcomes[0].recipients] == ["a", "later", "no"]
    assert outcomes[0].duration == 3.0
    assert clock.waits == [0.5, 1.0]
    assert told.again == [(0, 1, 1, 0.5), (0, 2, 1, 1.0)]


def test_each_keeps_his_place_however_often_the_rest_is_tried(clock):
    codes = [{"b": 450, "c": 450}, {"c": 450}, {}]
    wire = Played(
        lambda transaction, _: Receipt(
            tuple(
                fate(one, Phase.RCPT, codes[len(wire.runs) - 1][one])
                if one in codes[len(wire.runs) - 1]
                else fate(one, Phase.DOT, 250)
                for one in transaction.envelope.recipients
            )
        )
    )
    outcomes = run([mail("a", "b", "c")], wire, clock)
    assert wire.runs == [[("a", "b", "c")], [("b", "c")], [("c",)]]
    assert outcomes[0].accepted == ("a", "b", "c")


def test_a_mail_whose_circuit_opened_meanwhile_says_what_its_try_came_to(clock):
    """NF-REL-02."""
    refused = Receipt((fate("a", Phase.RCPT, 450),))
    wire = Played(lambda *_: refused)
    config = SmtpConfig(host="mx.test", retry=RetryConfig(), circuit_breaker=CircuitBreakerConfig(failure_threshold=1))
    guard = Safeguards(config, clock=lambda: clock).here()
    elsewhere = guard.breaker.admit(1)
    told = Told()
    told.retrying = lambda *_: elsewhere.record(Health.BAD)
    assert dict(Errand([mail("a")], wire, guard, told).outcomes()) == {0: refused}
    assert len(wire.runs) == 1


def test_what_goes_with_a_recipient_still_goes_with_it(clock):
    seen = []

    def wire(transaction):
        seen.append((transaction.envelope.recipients, transaction.options.original_recipients))
        codes = {"b": 450, "d": 450} if len(seen) == 1 else {}
        yield (
            0,
            Receipt(
                tuple(
                    fate(one, Phase.RCPT, codes[one]) if one in codes else fate(one, Phase.DOT, 250)
                    for one in transaction.envelope.recipients
                )
            ),
        )

    run([mail("a", "b", "c", "d", original_recipients=("A", "B", "C"))], lambda all_: wire(*all_), clock)
    assert seen == [(("a", "b", "c", "d"), ("A", "B", "C")), (("b", "d"), ("B",))]


def test_a_server_that_cannot_be_reached_is_tried_three_times_for_a_whole_batch(clock):
    """NF-REL-01."""
    wire = Played(lambda *_: UNREACHABLE)
    outcomes = run([mail("a")] * 50, wire, clock, retry=RetryConfig())
    assert [len(sent) for sent in wire.runs] == [50, 50, 50]
    assert set(outcomes.values()) == {UNREACHABLE}


def test_a_lost_link_is_given_time_before_the_rest_goes_on(clock):
    """NF-REL-03."""
    lost = Receipt((fate("a", Phase.DATA),), GONE)
    wire = Played(
        lambda transaction, position: lost if len(wire.runs) == 1 and position == 1 else accepted(transaction)
    )
    outcomes = run([mail("a")] * 4, wire, clock)
    assert [len(sent) for sent in wire.runs] == [4, 3]
    assert clock.waits == [0.5]
    assert all(one.accepted for one in outcomes.values())


def test_a_mail_in_doubt_is_not_tried_again(clock):
    """NF-REL-01, NF-REL-04."""
    lost = SmtpTimeoutError("late", ErrorKind.READ_TIMEOUT, phase=Phase.DOT)
    wire = Played(lambda *_: Receipt((fate("a", Phase.DOT),), lost))
    assert run([mail("a")], wire, clock)[0].error is lost
    assert len(wire.runs) == 1


def test_without_retry_the_mails_behind_a_lost_link_go_on_at_once(clock):
    wire = Played(
        lambda transaction, position: (
            Receipt((fate("a", Phase.DATA),), GONE) if len(wire.runs) == 1 and position == 0 else accepted(transaction)
        )
    )
    outcomes = run([mail("a"), mail("b")], wire, clock, retry=RetryConfig(enabled=False))
    assert (outcomes[0].error, outcomes[1].accepted) == (GONE, ("b",))
    assert clock.waits == []


def test_an_open_circuit_sends_nothing_and_is_not_tried_again(clock):
    """NF-REL-02."""
    wire = Played(lambda *_: UNREACHABLE)
    breaker = CircuitBreakerConfig(failure_threshold=1)
    safeguards = Safeguards(
        SmtpConfig(host="mx.test", retry=RetryConfig(jitter=False), circuit_breaker=breaker), clock=lambda: clock
    )
    for expected in (SmtpConnectionError, CircuitOpenError):
        outcomes = dict(Errand([mail("a")] * 3, wire, safeguards.here(), Told()).outcomes())
        assert {type(outcome) for outcome in outcomes.values()} == {expected}
        # The tries of a mail are one failure, and the breaker is asked before them.
        assert len(wire.runs) == 3


def test_the_breaker_stops_a_batch_in_its_middle(clock):
    """NF-REL-02."""
    wire = Played(lambda *_: Receipt((fate("a", Phase.DATA),), GONE))
    outcomes = run([mail("a")] * 20, wire, clock, retry=None, circuit_breaker=CircuitBreakerConfig())
    assert [isinstance(outcomes[position], CircuitOpenError) for position in range(20)] == [False] * 5 + [True] * 15
    assert len(wire.runs) == 5


def test_a_probe_is_tried_once_and_a_batch_follows_those_that_did_well(clock):
    """NF-REL-02."""
    wire = Played(lambda transaction, _: UNREACHABLE if clock.now < 1_040 else accepted(transaction))
    config = SmtpConfig(host="mx.test", retry=RetryConfig(), circuit_breaker=CircuitBreakerConfig(failure_threshold=1))
    safeguards = Safeguards(config, clock=lambda: clock)

    def send(count):
        return dict(Errand([mail("a")] * count, wire, safeguards.here(), Told()).outcomes())

    send(1)
    clock.now = 1_035.0
    wire.runs.clear()
    send(5)
    assert [len(sent) for sent in wire.runs] == [3]
    clock.now = 1_070.0
    wire.runs.clear()
    assert all(isinstance(one, Receipt) for one in send(10).values())
    assert [len(sent) for sent in wire.runs] == [3, 7]


def test_what_a_limit_rejects_is_told_and_the_rest_is_sent(clock):
    wire, told = Played(accepted), Told()
    limit = RateLimitConfig(max_emails=3, window=60)
    outcomes = run([mail("a")] * 5, wire, clock, told, rate_limit=limit)
    assert [isinstance(outcomes[position], RateLimitError) for position in range(5)] == [False] * 3 + [True] * 2
    assert told.limits == [(0.0, True)]
    assert clock.waits == []


def test_who_waits_for_a_limit_waits_no_longer_than_it_takes(clock):
    wire = Played(accepted)
    limit = RateLimitConfig(max_emails=2, window=10, on_limit="wait")
    outcomes = run([mail("a")] * 5, wire, clock, rate_limit=limit)
    assert all(isinstance(one, Receipt) for one in outcomes.values())
    assert [len(sent) for sent in wire.runs] == [2, 2, 1]
    assert clock.waits == [10.0, 10.0]


def test_a_limit_that_is_too_far_away_rejects_at_once(clock):
    limit = {"max_emails": 1, "window": 10, "on_limit": "wait_with_timeout"}
    patient = run([mail("a")] * 2, Played(accepted), clock, rate_limit=RateLimitConfig(**limit, wait_timeout=10))
    assert all(isinstance(one, Receipt) for one in patient.values())
    hasty = run([mail("a")] * 2, Played(accepted), clock, rate_limit=RateLimitConfig(**limit, wait_timeout=9.9))
    assert isinstance(hasty[1], RateLimitError)
    assert clock.waits == [10.0]


def test_tries_do_not_count_against_the_limit_and_go_on_while_others_wait_for_it(clock):
    later = [450]
    wire = Played(
        lambda transaction, _: Receipt((fate("a", Phase.RCPT, later.pop()),)) if later else accepted(transaction)
    )
    limit = RateLimitConfig(max_emails=1, window=10, on_limit="wait")
    outcomes = run([mail("a"), mail("b")], wire, clock, rate_limit=limit)
    assert wire.runs == [[("a",)], [("a",)], [("b",)]]
    assert clock.waits == [0.5, 9.5]
    assert all(one.accepted for one in outcomes.values())


def test_the_end_of_the_client_ends_every_wait(clock):
    waiting = errand([mail("a"), mail("b")], Played(lambda *_: UNREACHABLE), clock)
    clock.end()
    assert {type(outcome) for _, outcome in waiting.outcomes()} == {CancelledError}
    limited = errand(
        [mail("a")] * 2, Played(accepted), clock, rate_limit=RateLimitConfig(max_emails=1, window=9, on_limit="wait")
    )
    outcomes = dict(limited.outcomes())
    assert outcomes[0].accepted
    assert isinstance(outcomes[1], CancelledError)


def test_a_child_of_a_fork_counts_for_itself(clock, monkeypatch):
    safeguards = Safeguards(SmtpConfig(host="mx.test", rate_limit=RateLimitConfig(max_emails=1, window=9)))
    mine = safeguards.here()
    assert mine.limiter.take(2) == 1
    assert safeguards.here() is mine
    monkeypatch.setattr("os.getpid", lambda: 1)
    assert safeguards.here().limiter.take(2) == 1


def test_what_is_off_is_not_there():
    off = SmtpConfig(
        host="mx.test", retry=RetryConfig(enabled=False), circuit_breaker=CircuitBreakerConfig(enabled=False)
    )
    assert Safeguards.of(off, lambda _: None) is None
    assert Safeguards.of(SmtpConfig(host="mx.test"), lambda _: None) is None


FATES = st.sampled_from(
    [(Phase.DOT, 250), (Phase.DOT, 451), (Phase.DOT, 550), (Phase.RCPT, 450), (Phase.RCPT, 550), (Phase.DOT, None)]
)


@given(data=st.data(), sizes=st.lists(st.integers(1, 3), min_size=1, max_size=6), attempts=st.integers(1, 4))
def test_whatever_happens_nobody_gets_a_mail_twice_and_each_mail_has_one_outcome(data, sizes, attempts):
    """NF-REL-01, NF-REL-04."""
    transactions = [mail(*(f"{number}.{each}" for each in range(size))) for number, size in enumerate(sizes)]
    sent, tries = Counter(), Counter()

    def answer(transaction, _):
        fault = data.draw(st.sampled_from(["", "", "", "lost", "unreachable", "stopped"]))
        if fault == "unreachable":
            return UNREACHABLE
        if fault == "stopped":
            return None
        tries.update(transaction.envelope.recipients)
        if fault == "lost":
            return Receipt(tuple(fate(one, Phase.DATA) for one in transaction.envelope.recipients), GONE)
        fates = [(one, *data.draw(FATES)) for one in transaction.envelope.recipients]
        sent.update(address for address, phase, code in fates if phase is Phase.DOT and code in {250, None})
        is_broken = any(code is None for _, _, code in fates)
        return Receipt(tuple(fate(*one) for one in fates), GONE if is_broken else None)

    config = {
        "retry": RetryConfig(max_attempts=attempts),
        "circuit_breaker": data.draw(st.sampled_from([None, CircuitBreakerConfig(failure_threshold=3)])),
        "rate_limit": data.draw(st.sampled_from([None, RateLimitConfig(max_emails=2, window=5, on_limit="wait")])),
    }
    clock = Clock()
    outcomes = list(errand(transactions, Played(answer), clock, **config).outcomes())
    assert sorted(position for position, _ in outcomes) == list(range(len(sizes)))
    assert all(count == 1 for count in sent.values())
    assert all(count <= attempts for count in tries.values())
    for position, outcome in outcomes:
        if isinstance(outcome, Receipt):
            assert tuple(one.address for one in outcome.recipients) == transactions[position].envelope.recipients
            assert all(sent[one.address] == 1 for one in outcome.recipients if one.is_accepted)
            assert all(one.is_accepted or one.reply is None for one in outcome.recipients if sent[one.address])
        else:
            assert not any(sent[address] for address in transactions[position].envelope.recipients)


@pytest.mark.parametrize("state", ["first", "again"])
def test_a_wire_that_takes_nothing_is_an_error_and_no_endless_loop(clock, state):
    wire = Played(lambda *_: None)
    outcomes = run([mail("a")], wire, clock, retry=RetryConfig(max_attempts=2 if state == "again" else 1))
    assert outcomes[0].kind is ErrorKind.CONNECTION_UNHEALTHY
    assert len(wire.runs) == (2 if state == "again" else 1)
