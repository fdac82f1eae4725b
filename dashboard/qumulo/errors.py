"""What can go wrong with a call to a cluster, and the one question that matters then: did the request have an
effect?

    QumuloError
    ├── NotSent              ABSENT   no byte of the request left this process
    │   ├── CannotConnect             refused, unreachable, name unknown, no TLS
    │   ├── CertificateRefused        the cluster is not the one that is trusted here
    │   ├── AddressRefused            the address is not one that clusters may have
    │   └── TooLate                   the send window was over before the first byte
    ├── NoAnswer             UNKNOWN  timeout, reset, half an answer
    ├── Nonsense             UNKNOWN  not the API's answer: HTML, too large, a redirect, a wrong body
    └── Answered             the API's own error text
        │                    REFUSED  4xx: the cluster says no; true once a later reading agrees
        │                    UNKNOWN  5xx: it says that it failed, not how far it came
        ├── Unauthorized     401
        ├── Forbidden        403
        └── NotFound         404

Only ABSENT allows a request that changes something to be sent again. `words` is one sentence for a person. It
never holds a secret or a body; of an answer it holds at most the error class and description, with control
characters made visible.
"""

from __future__ import annotations

from enum import StrEnum

from dashboard.qumulo.edge import visible


class Effect(StrEnum):
    """What is known about the effect of the request that failed."""

    ABSENT = "absent"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class QumuloError(Exception):
    """A call that brought no usable answer. `http_status` is None when not even a status line came."""

    effect: Effect = Effect.UNKNOWN

    def __init__(self, words: str, *, http_status: int | None = None, retry_after: int | None = None) -> None:
        super().__init__(words)
        self.words = words
        self.http_status = http_status
        self.retry_after = retry_after  # seconds, at most 60; what the cluster asked for with 429 or 503


class NotSent(QumuloError):
    effect = Effect.ABSENT


class CannotConnect(NotSent):
    pass


class CertificateRefused(NotSent):
    pass


class AddressRefused(NotSent):
    pass


class TooLate(NotSent):
    pass


class NoAnswer(QumuloError):
    pass


class Nonsense(QumuloError):
    pass


class Answered(QumuloError):
    """The API's own error. Judge it by `http_status` and a fresh reading; the names of error classes are
    undocumented."""

    def __init__(self, http_status: int, *, error_class: str, description: str, retry_after: int | None = None) -> None:
        words = f"The cluster answered {http_status} {visible(error_class)}: {visible(description)}"
        super().__init__(words, http_status=http_status, retry_after=retry_after)
        self.error_class = error_class
        self.description = description
        self.effect = Effect.REFUSED if 400 <= http_status < 500 else Effect.UNKNOWN


class Unauthorized(Answered):
    """The token or password is not accepted."""


class Forbidden(Answered):
    """The token is good and lacks a privilege."""


class NotFound(Answered):
    """The cluster knows no such thing, or no such path."""
