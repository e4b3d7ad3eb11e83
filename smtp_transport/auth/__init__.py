"""Authentication: SASL mechanisms as functions of challenges, the choice among them, and what a refusal means.

Law: no clock, randomness or socket. A secret is read where its response is made and kept nowhere; no error, repr or
local variable of a traceback shows one. A new mechanism is one function and one row in `choice.MECHANISMS`.
"""

from smtp_transport.auth.choice import MECHANISMS, choose
from smtp_transport.auth.mechanism import Mechanism
from smtp_transport.auth.refusal import decode_challenge, refusal
from smtp_transport.sasl import SaslExchange

__all__ = ["MECHANISMS", "Mechanism", "SaslExchange", "choose", "decode_challenge", "refusal"]
