"""Who is told of a mail's end: Celery's `link`, `link_error`, chains and chords, kept with the mail until then.

Law: what is kept holds everything that a worker needs which knows none of the tasks: their names, arguments and queues.
A callback is published after the end was written, at least once; published twice, it bears the same task id.
"""

import dataclasses
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from celery import uuid
from celery.canvas import Signature, maybe_signature
from celery.utils.functional import maybe_list
from kombu.utils.json import dumps, loads

from mailworker.canvas import TELLING, EmailArgument, is_mail
from mailworker.celery import SEND_EMAIL, MailApp, app, queue_of
from mailworker.intake import open_callbacks
from mailworker.ledger import LedgerError
from mailworker.log import logger
from mailworker.options import RefusedError
from mailworker.record import MailState, Untold
from mailworker.report import MailReport
from mailworker.sealing import SealError

# What Celery passes along and is nothing to a mail.
OF_CANVAS = ("producer", "publisher", "connection", "add_to_parent", "root_id", "parent_id", "reply_to", "group_id")
OF_GROUPS = ("group_index",)
CHORD_SIZE = "mailworker_chord_size"
_AT_ONCE = 20
# Whoever took callbacks has published them by then, or is dead.
_LEASE_MS = 10_000
_CHORD_MS = 30 * 86_400_000


def kept(options: Mapping[str, Any]) -> bytes:
    """Write down whom to tell. b"": nobody. Raises RefusedError for what could not be called.

    `options` are Celery's: `link`, `link_error`, `chain` (the last step first), `chord` with `group_id` and
    `group_index`.
    """
    if not any(options.get(name) for name in TELLING):
        return b""
    facts: dict[str, Any] = {
        "link": [leaf for what in maybe_list(options.get("link")) or () for leaf in _leaves(what)],
        "link_error": [leaf for what in maybe_list(options.get("link_error")) or () for leaf in _leaves(what)],
        "chain": _steps(list(options.get("chain") or ())),
        "chord": _chord(options) if options.get("chord") else None,
    }
    return dumps(facts).encode()


def _read(what: Any, its_app: Any = None) -> Any:
    """Read a signature, or one that was written as a dict and has forgotten its app."""
    if isinstance(what, Signature):
        return what
    if not isinstance(what, Mapping):
        raise RefusedError(f"link, link_error: must be signatures (task.s(...)), not {type(what).__name__}")
    return maybe_signature(what, app=its_app)


def _leaves(what: Any, its_app: Any = None) -> list[dict[str, Any]]:
    """Take a signature apart into tasks that a worker can publish one by one."""
    signature = _read(what, its_app)
    kind = signature.get("subtask_type")
    if kind == "chord":
        raise RefusedError("a chord cannot follow a mail: its counting is its own app's. Let a task start it")
    if kind == "group":
        return [leaf for member in signature.tasks for leaf in _leaves(member)]
    if kind == "chain":
        return [_first_of(signature)]
    return [_leaf(signature)]


def _first_of(chain: Any) -> dict[str, Any]:
    """Make a chain its first task, which carries the others as Celery's messages do."""
    tasks, _ = chain.prepare_steps(
        chain.args, chain.kwargs, chain.tasks, link_error=chain.options.get("link_error"), app=chain.app
    )
    for callback in maybe_list(chain.options.get("link")) or ():
        tasks[0].link(callback)
    first = tasks.pop()
    if first.get("subtask_type") in {"group", "chord"}:
        raise RefusedError("a chord cannot follow a mail: its counting is its own app's. Let a task start it")
    if tasks:
        first.options["chain"] = tasks
    return _leaf(first)


def _leaf(signature: Any) -> dict[str, Any]:
    options = {name: value for name, value in signature.options.items() if name not in (*OF_CANVAS, *OF_GROUPS)}
    options.setdefault("task_id", uuid())
    leaf: dict[str, Any] = {"task": signature["task"], "immutable": bool(signature.get("immutable"))}
    if is_mail(signature):
        email = _only_email(signature)
        options["task_id"] = signature.freeze().id
        callbacks = kept(signature.options)
        options = {name: value for name, value in options.items() if name not in TELLING}
        return {**leaf, "args": [email], "kwargs": {}, "options": options, "callbacks": callbacks.decode()}
    options["queue"] = _queue_for(signature, options)
    return _plain({**leaf, "args": list(signature.args), "kwargs": dict(signature.kwargs), "options": options})


def _plain(leaf: dict[str, Any]) -> dict[str, Any]:
    """Be sure now that it can be written: later there is nobody to tell. Raises RefusedError."""
    try:
        plain: dict[str, Any] = loads(dumps(leaf))
    except Exception as error:
        raise RefusedError(f"the callback {leaf['task']} cannot be written down: {error}") from error
    return plain


def _only_email(signature: Any) -> dict[str, str]:
    if len(signature.args) != 1 or not isinstance(signature.args[0], EmailArgument):
        raise RefusedError("a mail that follows a mail brings its own email: send_email.s(email)")
    packed: dict[str, str] = signature.args[0].packed()
    return packed


def _queue_for(signature: Any, options: Mapping[str, Any]) -> str:
    """Tell the queue on which the callback's own app would send it. Raises RefusedError if only we would read it."""
    its_app = signature.app
    route = its_app.amqp.router.route(dict(options), signature["task"], signature.args, signature.kwargs)
    queue = route.get("queue")
    name = str(getattr(queue, "name", queue) or route.get("routing_key") or "")
    settings = app.runtime.settings
    is_ours = its_app is app and signature["task"] in app.tasks
    if name in {settings.broker.foreign_queue, *map(queue_of, settings.lanes)} and not is_ours and _is_shared(settings):
        raise RefusedError(
            f"the callback {signature['task']} would go to queue {name!r}, which mailworker's workers read. Give it "
            f"another: .set(queue=...); or leave them {name!r} no more, by an empty MAILWORKER_BROKER__FOREIGN_QUEUE"
        )
    return name


def _is_shared(settings: Any) -> bool:
    return settings.broker.callback_url is None


def _steps(steps: list[Any]) -> list[dict[str, Any]]:
    """Keep the rest of a chain, the next step last: one that we publish, with what it carries on."""
    if not steps:
        return []
    following = _read(steps.pop())
    if following.get("subtask_type") == "group":
        if steps:
            raise RefusedError("a chord cannot follow a mail: its counting is its own app's. Let a task start it")
        return _leaves(following)
    if steps:
        following = following.clone()
        following.options["chain"] = steps
    return _leaves(following)


def _chord(options: Mapping[str, Any]) -> dict[str, Any]:
    body = options["chord"]
    size = body.get(CHORD_SIZE)
    if size is None or options.get("group_id") is None or options.get("group_index") is None:
        raise RefusedError(
            "a chord of mails has mails only in its header: nobody could count mails and other tasks together"
        )
    signature = _read(body)
    after = maybe_list(signature.options.get("link_error")) or ()
    errbacks = [leaf for what in after for leaf in _leaves(what, signature.app)]
    place = options["group_index"]
    body_id = signature.options.get("task_id") or signature.id
    return {
        "group": options["group_id"],
        "place": place,
        "size": size,
        "id": body_id,
        "body": _leaves(body),
        "errbacks": errbacks,
    }


def tell(lane: str, seconds: float) -> int:
    """Tell of ends until all were told or the time is over. Returns how many mails' ends were told."""
    until, count, outbox = time.monotonic() + seconds, 0, app.runtime.ledger.outbox
    while time.monotonic() < until:
        try:
            told = list(_told(outbox.take(lane, _AT_ONCE, _LEASE_MS)))
            outbox.told(lane, told)
        except LedgerError as error:
            logger.warning("the callbacks of lane %s wait for the ledger: %s", lane, error)
            break
        count += len(told)
        if len(told) < _AT_ONCE:
            break
    return count


def _told(mails: Iterable[Untold]) -> Iterable[Untold]:
    """Yield the mails whose callbacks were published; the others' turn comes again."""
    for mail in mails:
        try:
            _Ending(mail, app).tell()
        except SealError as error:
            logger.error("the callbacks of mail %s cannot be opened: %s", mail.id, error)
            continue
        except LedgerError as error:
            logger.warning("the callbacks of mail %s wait for the ledger: %s", mail.id, error)
            return
        except RefusedError as error:
            logger.error("a callback of mail %s cannot be called: %s", mail.id, error)
        except Exception as error:  # noqa: BLE001 - whatever the broker's client raises
            logger.warning("the callbacks of mail %s wait for the broker (%s)", mail.id, type(error).__name__)
            return
        yield mail


class _Ending:
    """One mail's end, and the telling of it."""

    def __init__(self, mail: Untold, mail_app: MailApp) -> None:
        self._mail = mail
        self._app = mail_app

    def tell(self) -> None:
        mail, runtime = self._mail, self._app.runtime
        facts = loads(open_callbacks(mail, runtime.keys).decode())
        report = runtime.report(mail.id)
        if report is None or report.state != mail.state:
            return
        if mail.state is MailState.SENT:
            self._publish([*facts["link"], *facts["chain"]], dataclasses.asdict(report), mail.id)
        else:
            self._publish(facts["link_error"], mail.id, mail.id)
        if facts["chord"]:
            self._count(facts["chord"])

    def _count(self, chord: Mapping[str, Any]) -> None:
        """Note this mail as ended, and tell the chord's body when it was the last."""
        outbox = self._app.runtime.ledger.outbox
        ended = outbox.gather(chord["group"], chord["place"], self._mail.id, _CHORD_MS)
        if len(ended) < chord["size"]:
            return
        reports = [self._app.runtime.report(ended[place]) for place in sorted(ended)]
        if all(report is not None and report.state == MailState.SENT for report in reports):
            self._publish(chord["body"], [dataclasses.asdict(report) for report in _known(reports)], chord["group"])
        else:
            self._publish(chord["errbacks"], chord["id"], chord["id"])
        outbox.forget(chord["group"])

    def _publish(self, leaves: Sequence[Mapping[str, Any]], result: Any, parent: str) -> None:
        for leaf in leaves:
            if leaf["task"] == SEND_EMAIL:
                self._follow(leaf)
                continue
            args = leaf["args"] if leaf["immutable"] else [result, *leaf["args"]]
            self._app.call_back(leaf["task"], args, leaf["kwargs"], {**leaf["options"], "parent_id": parent})

    def _follow(self, leaf: Mapping[str, Any]) -> None:
        """Accept a mail that follows this one. Its id is fixed, so that it is one mail, however often it is told."""
        (email,) = map(EmailArgument.restored, leaf["args"])
        send_email: Any = self._app.tasks[SEND_EMAIL]
        send_email.accept(email.email, leaf["options"], leaf["callbacks"].encode())


def _known(reports: Iterable[MailReport | None]) -> list[MailReport]:
    return [report for report in reports if report is not None]
