"""What Sentry hears of a worker: that something went wrong, of what sort, and where. Nothing of what mails say.

Law: an event goes out with what is listed here and nothing else; of texts, our own alone, masked, for they hold no part
of a mail. Whatever else an error or a log line says could quote one. Web processes are their application's to watch.
"""

import os
from collections.abc import Mapping
from typing import Any

from mailworker.settings import Settings, SettingsError
from smtp_transport.observation import masked_text

DSN_NAME = "SENTRY_DSN"
_HIDDEN = "(not shown: it could quote a mail)"
# An event's own words; a new version of the SDK may add others, which may say more.
_KEPT = frozenset(
    {"event_id", "timestamp", "level", "platform", "type", "logger", "transaction", "tags", "fingerprint", "sdk"}
    | {"environment", "release", "dist", "server_name", "start_timestamp", "breadcrumbs"}
)
_KEPT_CONTEXTS = frozenset({"runtime", "trace"})
_KEPT_OF_ERRORS = ("type", "module", "thread_id", "mechanism", "stacktrace")
_KEPT_OF_FRAMES = ("filename", "abs_path", "function", "module", "lineno", "in_app")
_OURS = ("mailworker", "smtp_transport")


def report_to_sentry(settings: Settings) -> bool:
    """Have the errors of this process, and of those that it forks, sent to Sentry if the settings say where.

    False: they do not. Raises SettingsError.
    """
    configured = settings.sentry.dsn.get_secret_value() if settings.sentry.dsn else ""
    dsn = configured or os.environ.get(DSN_NAME, "")
    if not dsn:
        return False
    try:
        import sentry_sdk  # noqa: PLC0415 - few need it
        from sentry_sdk.integrations.celery import CeleryIntegration  # noqa: PLC0415 - the same
        from sentry_sdk.utils import BadDsn  # noqa: PLC0415 - the same
    except ModuleNotFoundError:
        if not configured:
            return False  # the variable may be meant for others
        raise SettingsError(
            "sentry.dsn is set, but sentry-sdk is not there: pip install 'mailworker[sentry]'"
        ) from None
    try:
        sentry_sdk.init(
            dsn=dsn,
            default_integrations=False,
            auto_enabling_integrations=False,
            integrations=[*_integrations(), CeleryIntegration(propagate_traces=False)],
            include_local_variables=False,
            include_source_context=False,
            max_request_body_size="never",
            before_send=lambda event, _hint: scrubbed(event),
            before_breadcrumb=lambda crumb, _hint: scrubbed_crumb(crumb),
            before_send_transaction=lambda _event, _hint: None,
            traces_sample_rate=0,
        )
    except BadDsn as error:
        raise SettingsError(f"MAILWORKER_SENTRY__DSN or {DSN_NAME} is no DSN of Sentry: {error}") from None
    return True


def scrubbed(event: Any) -> Any:
    """Leave of an event what says nothing of a mail."""
    kept = {name: value for name, value in event.items() if name in _KEPT}
    contexts = {name: value for name, value in (event.get("contexts") or {}).items() if name in _KEPT_CONTEXTS}
    errors = (event.get("exception") or {}).get("values") or ()
    if contexts:
        kept["contexts"] = contexts
    if errors:
        kept["exception"] = {"values": [_error(error) for error in errors]}
    if said := event.get("logentry"):
        kept["logentry"] = {"message": _line(str(event.get("logger")), said)}
    return kept


def scrubbed_crumb(crumb: Mapping[str, Any]) -> dict[str, Any] | None:
    """Leave a line of our own log, masked; None for whatever else was noticed on the way."""
    if crumb.get("type") != "log" or not _is_ours(str(crumb.get("category"))):
        return None
    kept = {name: crumb[name] for name in ("type", "level", "category", "timestamp") if name in crumb}
    return kept | {"message": masked_text(str(crumb.get("message")))}


def _integrations() -> list[Any]:
    """Those that tell of errors. Others look at what a program does: commands to Redis, arguments, requests."""
    from sentry_sdk.integrations.atexit import AtexitIntegration  # noqa: PLC0415 - few need it
    from sentry_sdk.integrations.dedupe import DedupeIntegration  # noqa: PLC0415 - the same
    from sentry_sdk.integrations.excepthook import ExcepthookIntegration  # noqa: PLC0415 - the same
    from sentry_sdk.integrations.logging import LoggingIntegration  # noqa: PLC0415 - the same
    from sentry_sdk.integrations.threading import ThreadingIntegration  # noqa: PLC0415 - the same

    each = (AtexitIntegration, DedupeIntegration, ExcepthookIntegration, LoggingIntegration)
    return [*(integration() for integration in each), ThreadingIntegration(propagate_scope=False)]


def _error(error: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: error[name] for name in _KEPT_OF_ERRORS if error.get(name) is not None}
    text = str(error.get("value") or "")
    kept["value"] = masked_text(text) if _is_ours(str(error.get("module"))) or not text else _HIDDEN
    if frames := (error.get("stacktrace") or {}).get("frames"):
        shown = [{name: frame[name] for name in _KEPT_OF_FRAMES if name in frame} for frame in frames]
        kept["stacktrace"] = {"frames": shown}
    if how := error.get("mechanism"):
        kept["mechanism"] = {name: how[name] for name in ("type", "handled") if name in how}
    return kept


def _line(logger: str, said: Mapping[str, Any]) -> str:
    """Tell a log line whole if it is ours; of Celery's, which may show a task's error, what they all have in common."""
    if _is_ours(logger):
        return masked_text(str(said.get("formatted") or said.get("message")))
    return masked_text(str(said.get("message"))) if logger.startswith(("celery", "kombu")) else _HIDDEN


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] in _OURS
