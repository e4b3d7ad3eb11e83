"""Mails after they were accepted: what is known of them, and what a person decides.

    from mailworker import mails

    mails.get(mail_id)
    mails.requeue(mails.find("dead", code=550, domain="example.org"))

Law: each mail is decided about by one transition of its own; where its state forbids it, it is left as it is and the
answer says so.
"""

import datetime as dt
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from mailworker.celery import app
from mailworker.keys import lane_of
from mailworker.options import RefusedError
from mailworker.record import PARKED_STATES
from mailworker.report import MailReport

Mails = str | MailReport | Iterable[str | MailReport]
# A script keeps everybody else waiting.
_PORTION = 500
# Where the mails of a state are, if not in a set of its own name.
_HOMES = {"scheduled": "due", "deferred": "due", "sending": "claims"}
FOUND_STATES = ("unreadable", *PARKED_STATES, "ready", *_HOMES)


def get(mail_id: str) -> MailReport | None:
    """Tell all that may be shown of a mail; None if there is no such mail (any more). Raises ValueError if it is no id.

    Recipients and what servers said of them, attempts and their times, states; addresses are masked.
    """
    return app.runtime.report(mail_id)


def find(
    state: str,
    *,
    lane: str | None = None,
    older_than: dt.timedelta | None = None,
    younger_than: dt.timedelta | None = None,
    code: int | str | None = None,
    domain: str | None = None,
) -> Iterator[MailReport]:
    """Find the mails of a lane, or of all, that are in a state at this moment, in each lane the newest first.

    `state`: any but "sent". Ages count from when the mail ended, or else was accepted. `code`: a reply code (550), an
    enhanced one ("5.1.1"), or the beginning of either ("5", "5.7"), of a recipient who has not got the mail; `domain`:
    of such a recipient. Raises RefusedError for what cannot be asked, also where sealed addresses cannot be read here.
    """
    if state not in FOUND_STATES:
        raise RefusedError(f"state: must be one of {', '.join(FOUND_STATES)}, not {state!r}")
    try:
        if lane is not None:
            app.runtime.settings.lane(lane)
    except LookupError as error:
        raise RefusedError(f"lane: {error.args[0]}") from None
    lanes = sorted(app.runtime.settings.lanes) if lane is None else [lane]
    ids = [mail_id for each in lanes for mail_id in app.runtime.ledger.parked(each, _HOMES.get(state, state))]
    found = (report for report in _reports(ids) if state in {report.state, "unreadable"})
    fitting = (report for report in found if _is_of_age(report, older_than, younger_than))
    return (report for report in fitting if _fits(report, code, domain))


def cancel(mails: Mails) -> dict[str, str]:
    """End mails that nobody is sending: "cancelled", or the state that forbids it, or "unknown", for each id."""
    return {mail_id: app.cancel(mail_id) for mail_id in _ids(mails)}


def requeue(mails: Mails) -> dict[str, str]:
    """Give ended mails another go, to those of their recipients who have not got them.

    Attempts and age start anew. "ready", or the state that forbids it, or "unknown", for each id.
    """
    return _by_lanes(mails, app.runtime.requeue)


def purge(mails: Mails) -> dict[str, str]:
    """Forget ended mails for good: "purged", or the state of a mail that has not ended, or "unknown", for each id."""
    return _by_lanes(mails, app.runtime.ledger.purge)


def _by_lanes(mails: Mails, decide: Callable[[str, Sequence[str]], Sequence[str]]) -> dict[str, str]:
    lanes: dict[str, list[str]] = {}
    # All of them before the first is touched: a mail that ends again at once must not be found again.
    for mail_id in dict.fromkeys(_ids(mails)):
        lanes.setdefault(lane_of(mail_id), []).append(mail_id)
    answers: dict[str, str] = {}
    for lane, ids in lanes.items():
        for first in range(0, len(ids), _PORTION):
            portion = ids[first : first + _PORTION]
            answers.update(zip(portion, decide(lane, portion), strict=True))
    return answers


def _ids(mails: Mails) -> Iterator[str]:
    for mail in (mails,) if isinstance(mails, str | MailReport) else mails:
        yield mail if isinstance(mail, str) else mail.id


def _reports(ids: Sequence[str]) -> Iterator[MailReport]:
    for first in range(0, len(ids), _PORTION):
        yield from app.runtime.reports(ids[first : first + _PORTION])


def _is_of_age(report: MailReport, older_than: dt.timedelta | None, younger_than: dt.timedelta | None) -> bool:
    age = dt.timedelta(seconds=time.time() - (report.ended_ms or report.accepted_ms) / 1000)
    return (older_than is None or age > older_than) and (younger_than is None or age < younger_than)


def _fits(report: MailReport, code: int | str | None, domain: str | None) -> bool:
    if code is None and domain is None:
        return True
    waiting = [one for one in report.recipients if one.state != "delivered"]
    if domain is not None and any("@" not in one.address for one in waiting):
        raise RefusedError(f"domain: the addresses of mail {report.id} are sealed with a key that is not here")
    return any(
        (code is None or _is_code(str(code), one.code, one.enhanced))
        and (domain is None or one.address.rpartition("@")[2].lower() == domain.lower())
        for one in waiting
    )


def _is_code(wanted: str, code: int | None, enhanced: str | None) -> bool:
    said = [str(code)] if code is not None and "." not in wanted else []
    if enhanced:
        said.append(enhanced)
    return any(one == wanted or one.startswith(wanted if len(wanted) == 1 else f"{wanted}.") for one in said)
