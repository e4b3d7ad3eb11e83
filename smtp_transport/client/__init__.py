"""The whole client: an email goes in, what became of it comes out.

Law: nothing is sent twice by the client's own decision once its content was begun. Clock and randomness that a message
needs (Date, Message-ID) are asked for here and nowhere below.
"""

from smtp_transport.client.interceptors import Interceptor
from smtp_transport.client.interface import MailClient
from smtp_transport.client.results import BatchSendResult, RejectedRecipient, SendResult
from smtp_transport.client.smtp_client import SmtpClient

__all__ = ["BatchSendResult", "Interceptor", "MailClient", "RejectedRecipient", "SendResult", "SmtpClient"]
