"""The signatures that the single file checks by itself, beside those of a library."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from dashboard.audit.verifier import ed25519_verify

RFC_8032 = [  # section 7.1, tests 1, 2, 3 and SHA(abc): public key, message, signature
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24"
            "655141438e7a100b"
        ),
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aee"
            "b00d291612bb0c00"
        ),
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28d"
            "c027beceea1ec40a"
        ),
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        hashlib.sha512(b"abc").hexdigest(),
        (
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17a"
            "d9bef1177331a704"
        ),
    ),
]


ORDER = 2**252 + 27742317777372353535851937790883648493


@pytest.mark.parametrize(("key", "message", "signature"), RFC_8032)
def test_the_vectors_of_the_standard_hold(key: str, message: str, signature: str) -> None:
    assert ed25519_verify(bytes.fromhex(key), bytes.fromhex(signature), bytes.fromhex(message))
    assert not ed25519_verify(bytes.fromhex(key), bytes.fromhex(signature), bytes.fromhex(message) + b"x")


def test_it_agrees_with_a_well_known_library_on_right_and_wrong_signatures() -> None:
    for number in range(24):
        seed = hashlib.sha256(b"%d" % number).digest()
        key = Ed25519PrivateKey.from_private_bytes(seed)
        public, message = key.public_key().public_bytes_raw(), seed * number
        right = key.sign(message)
        s = int.from_bytes(right[32:], "little")
        wrong = [
            right[:number] + bytes([right[number] ^ 1]) + right[number + 1 :],
            right[: 32 + number] + bytes([right[32 + number] ^ 128]) + right[33 + number :],
            right[:32] + (s + ORDER).to_bytes(32, "little"),  # the same number, written otherwise
            right[:63],
            right + b"\0",
            bytes(64),
        ]
        for signature in (right, *wrong):
            try:
                Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
                known = True
            except InvalidSignature:
                known = False
            assert ed25519_verify(public, signature, message) is known is (signature == right)


@pytest.mark.parametrize("key", [b"", bytes(31), b"\xff" * 32, b"\x02" + bytes(31)])
def test_what_is_no_point_is_no_key(key: bytes) -> None:
    assert not ed25519_verify(key, bytes(64), b"")
