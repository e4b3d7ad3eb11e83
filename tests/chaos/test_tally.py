"""Several runs add up to one table."""

from tests.chaos.tally import page, tallied


def run(kind, *recoveries, **row):
    sums = {"faults": len(recoveries), "lost": 0, "duplicates": 0, "unflagged": 0, "stuck": 0, **row}
    faults = [{"kind": kind, "detail": {"recovery": seconds}} for seconds in recoveries]
    report = {"by_kind": {kind: sums}, "mails": 10, "uncertain": 1, "violations": []}
    return {"report": report, "faults": [*faults, {"kind": kind, "detail": {}}], "troubles": []}


def test_runs_add_up():
    rows = tallied([run("a", 1.0, 2.0, lost=1), run("a", 9.0), run("b", 4.0, duplicates=3)])
    assert rows["a"] | {"faults": 3, "lost": 1, "median": 2.0, "longest": 9.0} == rows["a"]
    assert rows["all"] | {"faults": 4, "lost": 1, "duplicates": 3, "median": 3.0, "longest": 9.0} == rows["all"]
    assert "20 mails accepted, 2 in calls cut short, 0 violations, 2 runs" in page([run("a"), run("b")])


def test_what_recovers_slowly_over_all_runs_is_a_violation():
    slow = [run("a", *[11.0] * 8), run("a", *[1.0] * 4)]
    assert ", 2 violations, 2 runs" in page(slow), "of that kind, and of all"
    assert ", 0 violations, 1 runs" in page(slow[:1]), "too few to say so"
