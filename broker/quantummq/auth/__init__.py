"""Who is let in: what is asked, what can be answered, and the authenticators of the core.

AuthenticationRequest → Authenticator.authenticate → Identity | Refusal
AuthenticationRequest → EnhancedAuthenticator.start → Exchange.step* → Identity | Refusal
build(config) → Authenticators, which the broker asks
"""

from quantummq.auth.authenticator import Authenticator, EnhancedAuthenticator, Exchange
from quantummq.auth.build import Authenticators, build
from quantummq.auth.decision import AuthenticationRequest, Continue, Identity, Refusal, Step

__all__ = [
    "AuthenticationRequest",
    "Authenticator",
    "Authenticators",
    "Continue",
    "EnhancedAuthenticator",
    "Exchange",
    "Identity",
    "Refusal",
    "Step",
    "build",
]
