"""An identity provider on this machine: discovery, sign-in page, tokens and keys, over real TLS. It can be told to
lie."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.qumulo.lab import Issued, authority, issue

CLIENT_ID, SECRET = "desk", "the client's secret"


class Provider:
    """`who` signs in there; `claims` replace those of the token (None leaves one out). What it is asked is kept."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.signs_with: Any = self.key
        self.algorithm, self.kid = "RS256", "k1"
        self.who: dict[str, Any] = {"sub": "s-17", "email": "k.osei@example.com", "email_verified": True}
        self.claims: dict[str, Any] = {}
        self.document: dict[str, Any] = {}
        self.raw: dict[str, tuple[int, bytes]] = {}
        self.asked: list[dict[str, str]] = []
        self.paths: list[str] = []
        self._codes: dict[str, dict[str, str]] = {}

    def sign_in(self, address: str) -> str:
        """What a person does in the browser: signs in there, and is sent back with a code."""
        parts = urlsplit(address)
        asked = dict(parse_qsl(parts.query))
        assert address.startswith(f"{self.url}/authorize?")
        assert (asked["client_id"], asked["response_type"], asked["code_challenge_method"]) == (
            CLIENT_ID,
            "code",
            "S256",
        )
        self.asked.append(asked)
        code = secrets.token_urlsafe(8)
        self._codes[code] = asked
        back = urlsplit(asked["redirect_uri"])
        assert (back.scheme, back.netloc) == ("http", "testserver")
        return f"{back.path}?{urlencode({'code': code, 'state': asked['state']})}"

    def answer(self, path: str, form: dict[str, list[str]]) -> tuple[int, bytes]:
        self.paths.append(path)
        if path in self.raw:
            return self.raw[path]
        match path:
            case "/.well-known/openid-configuration":
                return 200, json.dumps(self._document() | self.document).encode()
            case "/keys":
                public = jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
                return 200, json.dumps({"keys": [public | {"kid": "k1", "alg": "RS256", "use": "sig"}]}).encode()
            case "/token":
                return self._token({name: values[0] for name, values in form.items()})
        return 404, b""

    def _document(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        }

    def _token(self, form: dict[str, str]) -> tuple[int, bytes]:
        asked = self._codes.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        good = asked is not None and (form["client_id"], form["client_secret"]) == (CLIENT_ID, SECRET)
        if asked is None or not good or challenge != asked["code_challenge"]:
            return 400, b'{"error": "invalid_grant"}'
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        if asked.get("max_age") == "0":
            claims["auth_time"] = now
        claims = {name: value for name, value in (claims | self.who | self.claims).items() if value is not None}
        token = jwt.encode(claims, self.signs_with, algorithm=self.algorithm, headers={"kid": self.kid})
        return 200, json.dumps({"access_token": "a", "token_type": "Bearer", "id_token": token}).encode()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._reply({})

    def do_POST(self) -> None:
        self._reply(parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode()))

    def _reply(self, form: dict[str, list[str]]) -> None:
        status, body = self.server.provider.answer(self.path, form)  # type: ignore[attr-defined]
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        if 300 <= status < 400:
            self.send_header("Location", body.decode())
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(ConnectionError, ssl.SSLError):  # the client had enough of it
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of http.server
        pass


@contextmanager
def running(folder: Path, certificate: Issued | None = None) -> Iterator[Provider]:
    shown = certificate or issue("idp", by=authority())
    (folder / "idp.pem").write_text(shown.key_pem + shown.pem)
    (folder / "ca.pem").write_text(authority().pem)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "idp.pem")
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    server.provider = Provider(f"https://127.0.0.1:{server.server_port}")  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.provider  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
