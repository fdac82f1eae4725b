"""manage.py checkpoint key | new-key | show: the key that signs the audit trail, and the notes that it signed."""

from __future__ import annotations

import os
from base64 import urlsafe_b64encode
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from dashboard.audit import checkpoints, verifier
from dashboard.audit.models import Checkpoint


class Command(BaseCommand):
    help = "Show the public key that signs the audit trail, make a new private one, or print the signed checkpoints."
    requires_system_checks: tuple[str, ...] = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "what",
            choices=("key", "new-key", "show"),
            help="key: the public key; new-key: one for CHECKPOINT_KEY; show: every checkpoint, for verify.py",
        )

    def handle(self, *args: Any, what: str, **options: Any) -> None:
        if what == "new-key":
            self.stdout.write(urlsafe_b64encode(os.urandom(32)).decode())
        elif what == "key":
            self.stdout.write(verifier.key_text(_public_key()))
        else:
            for checkpoint in Checkpoint.objects.order_by("number").iterator(chunk_size=500):
                self.stdout.write(checkpoint.note)


def _public_key() -> bytes:
    """Of the settings if they hold the private one, else the one that signed last."""
    try:
        if keys := checkpoints.signing_keys():
            return keys[0].public_key().public_bytes_raw()
    except ValueError as error:
        raise CommandError("CHECKPOINT_KEY is not a key.") from error
    last = Checkpoint.objects.order_by("number").last()
    if last is None:
        raise CommandError("Nothing has been signed yet, and CHECKPOINT_KEY is not set here.")
    return verifier.parse_note(last.note)[0].key
