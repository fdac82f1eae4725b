"""Log lines: one JSON object each, control characters escaped, secrets taken out before they are written."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime

# Bearer tokens of clusters, Fernet ciphertexts, and whatever stands behind "Authorization".
_SECRETS = re.compile(r"(session-v1:|access-v1:|gAAAA)[A-Za-z0-9+/=_-]+|(?i:(authorization|bearer)\W+)\S+")


class Clean(logging.Filter):
    """Replaces anything that looks like a secret; never drops a line."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        cleaned = _SECRETS.sub("[secret]", message)
        if cleaned != message:
            record.msg, record.args = cleaned, None
        return True


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = _SECRETS.sub("[secret]", self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=True)
