"""Access tokens from an OAuth 2.0 token endpoint (RFC 6749), by plain HTTPS and the standard library.

Law: a request ends by its timeout and its answer is bounded, whatever the endpoint does. Many threads that need a token
make one request. What the endpoint says enters no error, save its error's code.
"""

from smtp_transport.oauth.endpoint import OAuth2Client
from smtp_transport.oauth.providers import ClientCredentialsProvider, RefreshTokenProvider

__all__ = ["ClientCredentialsProvider", "OAuth2Client", "RefreshTokenProvider"]
