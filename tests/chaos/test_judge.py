"""The judge of chaos runs finds each kind of breach: without that, a run without violations would say nothing."""

from dataclasses import replace

import pytest

from tests.chaos.evidence import Call
from tests.chaos.faults import Fault
from tests.chaos.judge import LEAST_FAULTS, Findings, Kept, judge
from tests.chaos.letters import HELD, email_of, is_whole, lane_of_tag, recipients_of, tag_of_recipient, tag_of_sender

TAG = next(f"0x0.{n}.0" for n in range(1000) if lane_of_tag(f"0x0.{n}.0") == "default" and n > 50)
REFUSED = next(f"0x0.{n}.0" for n in range(1000) if recipients_of(f"0x0.{n}.0")[0].startswith("nobody"))
DOUBTFUL = next(f"0x0.{n}.0" for n in range(1000) if lane_of_tag(f"0x0.{n}.0") == HELD)
FLAG = {"event": "recovered at the dot", "at": 1_005_000}


def call(tag=TAG, **facts) -> Call:
    return Call(
        **{"number": 1, "way": "delay", "tags": [tag], "key": None, "began": 1000, "ids": [f"id {tag}"], **facts}
    )


def taken(tag=TAG, at=1001.0, **facts) -> dict:
    return {"at": at, "tag": tag, "to": recipients_of(tag), "whole": True, **facts}


def kept(tag=TAG, **facts) -> Kept:
    letters = "d" * len(recipients_of(tag))
    return Kept(**{"id": f"id {tag}", "tag": tag, "state": "sent", "letters": letters, "duplicates": 0, **facts})


GOOD = Findings(
    calls=[call()],
    taken=[taken(), taken(at=1010.0)],
    refused=[],
    kept=[kept(duplicates=1, history=[FLAG])],
    counts={"accepted": 1, "delivered": 1},
    faults=[Fault(0, "child-killed", 1001.2, 1001.2)],
)


def breaches(**changes) -> list[str]:
    return [line.partition(":")[0] for line in judge(replace(GOOD, **changes)).violations]


def test_a_run_in_which_every_promise_was_kept_has_no_violations():
    report = judge(GOOD)
    assert report.violations == []
    row = {"faults": 1, "lost": 0, "duplicates": len(recipients_of(TAG)), "unflagged": 0, "stuck": 0}
    assert report.by_kind["child-killed"] == row | {"recovery_median": 8.8, "recovery_max": 8.8}


def test_a_mail_that_never_arrived_is_lost():
    assert "lost" in breaches(taken=[])
    assert "lost" in breaches(taken=[], kept=[], counts={})
    assert judge(replace(GOOD, calls=[call(ended=1002.0)], taken=[])).by_kind["child-killed"]["lost"]
    # Nobody had promised it.
    assert breaches(calls=[call(ids=None)], taken=[], kept=[], counts={}) == []
    assert "lost" in breaches(taken=[taken(to=recipients_of(TAG)[1:])])
    # What was accepted before a call raised was promised; the rest was not.
    both = call(tags=[TAG, DOUBTFUL], error="BulkError")
    assert set(breaches(calls=[both], taken=[], kept=[], counts={})) == {"lost"}
    assert breaches(calls=[both]) == []


def test_a_failure_counts_only_with_the_servers_reason():
    dead = kept(REFUSED, state="dead", letters="b")
    facts = {"calls": [call(REFUSED)], "taken": [], "kept": [dead], "counts": {"accepted": 1, "dead": 1}}
    assert breaches(**facts) == ["lost"]
    told = {"step": "RCPT", "tag": REFUSED, "reply": "550"}
    assert breaches(**facts, refused=[told | {"to": recipients_of(REFUSED)[0]}]) == []
    assert breaches(**facts, refused=[told | {"to": "another@example.org"}]) == ["lost"]


def test_a_doubt_is_an_end_only_where_doubts_are_held():
    facts = {"taken": [], "counts": {"accepted": 1, "in_doubt": 1}}
    for tag, expected in ((DOUBTFUL, []), (TAG, ["lost"])):
        letters = "i" * len(recipients_of(tag))
        told = breaches(calls=[call(tag)], kept=[kept(tag, state="in_doubt", letters=letters)], **facts)
        assert sorted(set(told)) == expected


@pytest.mark.parametrize("history", [[], [FLAG | {"at": 1_011_000}], [{"event": "recovered", "at": 1_005_000}]])
def test_a_second_arrival_needs_a_flag_that_was_there_before(history):
    assert set(breaches(kept=[kept(duplicates=1, history=history)])) == {"doubled without a flag"}


def test_a_third_arrival_needs_a_second_flag():
    thrice = [taken(), taken(at=1010.0), taken(at=1011.0)]
    assert set(breaches(taken=thrice)) == {"doubled without a flag"}
    assert breaches(taken=thrice, kept=[kept(duplicates=2, history=[FLAG, FLAG])]) == []


def test_what_is_held_in_doubt_must_not_arrive_twice():
    twice = [taken(DOUBTFUL), taken(DOUBTFUL, at=1010.0)]
    held = kept(DOUBTFUL, duplicates=1, history=[FLAG])
    assert set(breaches(calls=[call(DOUBTFUL)], taken=twice, kept=[held])) == {"doubled although doubts are held"}


def test_a_kill_may_double_one_window_and_no_more():
    tags = [f"9x0.{n}.0" for n in range(200) if lane_of_tag(f"9x0.{n}.0") == "default"]
    assert len(tags) > 100
    told = breaches(
        calls=[call(tag) for tag in tags],
        taken=[taken(tag, at=at) for tag in tags for at in (1001.0, 1010.0)],
        kept=[kept(tag, duplicates=1, history=[FLAG]) for tag in tags],
        counts={"accepted": len(tags), "delivered": len(tags)},
    )
    assert told == [f"fault 0 (child-killed) doubled {len(tags)} mails"]


def test_mails_that_a_fault_had_left_claimed_count_until_they_are_tried_again():
    for why, cause in (({}, 0), ({"why": "its process had ended"}, 1)):
        faults = [Fault(0, "child-killed", 1000.0, 1000.0), Fault(1, "child-killed", 1004.0, 1004.0)]
        history = [FLAG | why, {"at": 1_009_000, "fate": "delivered"}]
        judge(replace(GOOD, faults=faults, kept=[kept(duplicates=1, history=history)]))
        assert [fault.detail["stranded"] for fault in faults] == [int(fault.number == cause) for fault in faults]


def test_a_mail_that_has_not_ended_is_stuck():
    assert "stuck" in breaches(kept=[kept(state="ready", duplicates=1, history=[FLAG])])


def test_a_call_that_was_repeated_makes_no_second_mail():
    twice = [kept(duplicates=1, history=[FLAG]), kept(id="another", duplicates=1, history=[FLAG])]
    assert breaches(kept=twice, counts={"accepted": 2, "delivered": 2}) == ["accepted 2 times"]


def test_counters_that_say_something_else_are_found():
    assert breaches(counts={"accepted": 1})[0].startswith("the counters say")
    assert breaches(counts={"accepted": 2, "delivered": 1})[0].startswith("the counters say")


def test_what_nobody_sent_and_what_is_maimed_is_found():
    assert "nobody sent what arrived" in breaches(taken=[*GOOD.taken, taken("8x0.1.0")])
    assert "arrived maimed" in breaches(taken=[taken(whole=False), taken(at=1010.0)])


MANY = [Fault(number, "child-killed", 1001.2, 1001.2) for number in range(LEAST_FAULTS)]


def test_a_slow_recovery_is_found():
    assert breaches(taken=[taken(), taken(at=1012.0)], faults=MANY) == ["slow to recover"]
    assert breaches(taken=[taken(), taken(at=1011.0)], faults=MANY) == []
    # A median of few says nothing.
    assert breaches(taken=[taken(), taken(at=1012.0)], faults=MANY[1:]) == []


def test_a_stranded_mail_counts_until_it_is_tried_again():
    other = next(f"7x0.{n}.0" for n in range(1000) if lane_of_tag(f"7x0.{n}.0") == "default")
    facts = {"calls": [call(), call(other)], "counts": {"accepted": 2, "delivered": 2}}
    facts |= {"taken": [taken(other, at=1001.5), *GOOD.taken[:1], taken(at=1013.0)]}
    history = [FLAG | {"at": 1_009_000}, {"fate": "delivered", "at": 1_013_000}]
    facts["kept"] = [kept(other), kept(duplicates=1, history=history)]
    report = judge(replace(GOOD, **facts))
    assert report.violations == []
    assert report.by_kind["child-killed"]["recovery_max"] == 11.8


def test_a_mail_is_told_by_its_tag():
    content = email_of(TAG)
    assert tag_of_sender(content.from_.email) == TAG
    assert {tag_of_recipient(address) for address in recipients_of(TAG)} == {TAG}
    assert is_whole(content.text_body.encode(), TAG)
    assert not is_whole(content.text_body.encode()[:-1], TAG)
