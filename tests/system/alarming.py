"""All sorts of mistakes, for a worker that is started with `--include tests.system.alarming`.

Whoever sends a mail to crash…@ raises, in a drain and in a thread beside it, and logs, with all that he knows.
"""

import logging
import threading
from typing import Any

from smtp_transport.client import SmtpClient

_deliver = SmtpClient.deliver


def _raise(what: str) -> None:
    raise ValueError(what)


def _alarming(self: SmtpClient, transactions: Any, *arguments: Any, **named: Any) -> Any:
    for transaction in transactions:
        if transaction.envelope.recipients[0].startswith("crash"):
            known = f"{transaction.envelope} {transaction.render(True).data!r}"
            logging.getLogger("theirs").error("it is %s", known)
            logging.getLogger("celery.utils").error("a mail: %s", known)
            logging.getLogger("theirs").warning(known)
            beside = threading.Thread(target=_raise, args=(known,))
            beside.start()
            beside.join()
            _raise(known)
    return _deliver(self, transactions, *arguments, **named)


SmtpClient.deliver = _alarming  # type: ignore[method-assign] # that is the point
