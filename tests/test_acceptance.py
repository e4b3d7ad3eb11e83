from tests.acceptance import PAGE, PROMISES, PROVEN, named, page, proofs, proofs_in


def test_the_table_says_what_the_tests_say():
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make docs-table`"


def test_every_promise_that_needs_a_test_has_one():
    found = proofs()
    assert [promise for promise in PROMISES if promise.startswith(PROVEN) and not found.get(promise)] == []


def test_no_test_names_a_promise_that_is_not_made():
    assert set(proofs()) - set(PROMISES) == set()


def test_ids_are_found_in_docstrings_of_tests_and_nowhere_else():
    assert list(named("F-MIME-01..03, NF-SEC-04: all")) == ["F-MIME-01", "F-MIME-02", "F-MIME-03", "NF-SEC-04"]
    source = 'def test_a():\n    """F-SEND-01."""\n\ndef b():\n    """F-SEND-02."""\n\n# F-SEND-03\n'
    assert [(promise, proof.name) for promise, proof in proofs_in(source, "x")] == [("F-SEND-01", "test_a")]
