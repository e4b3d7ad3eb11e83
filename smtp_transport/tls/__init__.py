"""TLS as this client wants it: contexts, what is proven besides the chain, sessions, and complaints that help.

Law: what is not proven is refused, unless the configuration says otherwise by name. No key material in any text.
"""

from smtp_transport.tls.context import context_for
from smtp_transport.tls.sessions import TlsSessions
from smtp_transport.tls.trouble import Handshake, explain, explain_alert
from smtp_transport.tls.vetting import vet

__all__ = ["Handshake", "TlsSessions", "context_for", "explain", "explain_alert", "vet"]
