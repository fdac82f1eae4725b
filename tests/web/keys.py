"""An authenticator app and a security key in software, and a person who uses them in a browser."""

from __future__ import annotations

import html
import json
import re
import secrets
import time
from datetime import timedelta
from typing import Any

from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from django.test import Client
from fido2.cose import ES256
from fido2.utils import sha256, websafe_decode, websafe_encode
from fido2.webauthn import AttestationObject, AttestedCredentialData, AuthenticatorData, CollectedClientData

from dashboard.database import database_now
from tests.conftest import PASSWORD

ORIGIN = "http://testserver"
STEP = 30
A_MOMENT = 3  # seconds, from a code to the end of the request that carries it


class App:
    """Knows a secret; makes its codes. Steps are of 30 s, 0 is the one of now, which does not end within a moment: else
    a code would be of another step when it is looked at."""

    def __init__(self, secret: str) -> None:
        self.secret = secret

    def code(self, step: int = 0, **off: int) -> str:
        while (left := STEP - database_now().timestamp() % STEP) < A_MOMENT:
            time.sleep(left)
        now = database_now() + timedelta(**off)
        return format_hotp_value(hotp_value(self.secret, int(now.timestamp()) // STEP + step))


FLAG = AuthenticatorData.FLAG


class Key:
    """A security key: makes a credential, signs challenges, and counts."""

    def __init__(self, origin: str = ORIGIN) -> None:
        self.origin, self.counter, self.id = origin, 0, secrets.token_bytes(32)
        self._private = ec.generate_private_key(ec.SECP256R1())

    def create(self, options: dict[str, Any]) -> str:
        made = AttestedCredentialData.create(
            b"\0" * 16, self.id, ES256.from_cryptography_key(self._private.public_key())
        )
        data = AuthenticatorData.create(
            self._rp(options["publicKey"]["rp"]["id"]), FLAG.UP | FLAG.AT, self.counter, made
        )
        client = self._client("webauthn.create", options)
        attested = AttestationObject.create("none", data, {})
        return self._answer({"clientDataJSON": client, "attestationObject": bytes(attested)})

    def get(self, options: dict[str, Any]) -> str:
        self.counter += 1
        data = AuthenticatorData.create(self._rp(options["publicKey"]["rpId"]), FLAG.UP, self.counter)
        client = self._client("webauthn.get", options)
        signature = self._private.sign(bytes(data) + sha256(client), ec.ECDSA(SHA256()))
        return self._answer({"clientDataJSON": client, "authenticatorData": bytes(data), "signature": signature})

    @staticmethod
    def _rp(name: str) -> bytes:
        return sha256(name.encode())

    def _client(self, kind: str, options: dict[str, Any]) -> bytes:
        challenge = websafe_decode(options["publicKey"]["challenge"])
        return CollectedClientData.create(type=kind, challenge=challenge, origin=self.origin)

    def _answer(self, response: dict[str, bytes]) -> str:
        coded = {name: websafe_encode(value) for name, value in response.items()}
        me = websafe_encode(self.id)
        return json.dumps(
            {"id": me, "rawId": me, "type": "public-key", "response": coded, "clientExtensionResults": {}}
        )


def hidden(answer: Any, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', answer.content.decode())
    return html.unescape(found[1]) if found else ""


def options(answer: Any) -> dict[str, Any]:
    found = re.search(r'data-key-(?:get|create)="({[^"]*)"', answer.content.decode())
    assert found, "no options on the page"
    loaded: dict[str, Any] = json.loads(html.unescape(found[1]))
    return loaded


def sign_in(client: Client, name: str, password: str = PASSWORD, **fields: str) -> Any:
    return client.post("/sign-in/", {"username": name, "password": password, **fields})


def add_app(client: Client, **confirmed: str) -> tuple[App, Any]:
    """Through the page, as the first second factor: the app, and the answer with its recovery codes."""
    page = client.get("/account/app/")
    found = re.search(r'<code class="mono">([A-Z2-7 ]+)</code>', page.content.decode())
    assert found
    app = App(found[1].replace(" ", ""))
    fields = {"secret": hidden(page, "secret"), "code": app.code(-1), "confirm_ticket": hidden(page, "confirm_ticket")}
    return app, client.post("/account/app/", fields | (confirmed or {"confirm_password": PASSWORD}))


def add_key(client: Client, key: Key | None = None, /, **confirmed: str) -> tuple[Key, Any]:
    key, page = key or Key(), client.get("/account/key/")
    fields = {
        "name": "blue key",
        "challenge": hidden(page, "challenge"),
        "answer": key.create(options(page)),
        "confirm_ticket": hidden(page, "confirm_ticket"),
    }
    return key, client.post("/account/key/", fields | (confirmed or {"confirm_password": PASSWORD}))


def touched(client: Client, key: Key, ticket: str) -> dict[str, str]:
    """What the script of the page does with a press on "Confirm with security key"."""
    found = client.get("/confirm/challenge/", {"ticket": ticket}).json()
    return {"confirm_ticket": found["ticket"], "confirm_answer": key.get(found["options"])}
