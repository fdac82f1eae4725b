"""Who may call what: identity, sessions, tokens, privileges, paths and methods."""

from __future__ import annotations

import uuid

import pytest

from dashboard.simulator.routes import ROUTES
from tests.simulator.refusals import assert_refused

T, S = "/v2/replication/target-relationships", "/v2/replication/source-relationships"


# -- the cluster and who asks --------------------------------------------------------------------------------


def test_identity_is_told_to_anybody(sign_in, dr):
    nobody = sign_in(dr, "")
    assert nobody.get("/v1/version").json() == {
        "build_date": "2026-02-07T02:28:15Z",
        "build_id": "341775.1.14",
        "flavor": "release",
        "revision_id": "Qumulo Core 7.8.0",
    }
    assert nobody.get("/v1/node/state").json() == {"cluster_id": dr.uuid, "node_id": 1, "state": "ACTIVE"}
    assert nobody.get("/v1/cluster/settings").json() == {"cluster_name": "dr"}
    assert uuid.UUID(dr.uuid).version == 4


def test_the_description_of_the_api_names_its_version_and_its_paths(sign_in, dr):
    told = sign_in(dr, "").get("/openapi.json").json()
    assert told["info"]["version"] == "7.8.0"
    assert told["paths"][f"{T}/{{id}}/make-writable"].keys() == {"post"}


def test_a_login_gives_a_session_that_lasts_ten_hours(clock, sign_in, dr):
    admin = sign_in(dr)
    assert admin.headers["Authorization"].startswith("Bearer session-v1:")
    clock.pass_time(10 * 3600 - 1)
    assert admin.get("/v1/session/who-am-i").status_code == 200
    clock.pass_time(1)
    assert_refused(admin.get("/v1/session/who-am-i"), 401, "http_unauthorized_error")


@pytest.mark.parametrize("wrong", [{"password": "guess"}, {"username": "root"}])
def test_a_wrong_name_or_password_gets_401(sign_in, dr, wrong):
    right = {"username": dr.username, "password": dr.password}
    answer = sign_in(dr, "").post("/v1/session/login", json={**right, **wrong})
    assert_refused(answer, 401, "cred_invalid_credentials_error")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"username": "admin"}', b'{"username": 1, "password": "x"}',
             b'{"username": "admin", "password": "x", "otp": "1"}'],
)  # fmt: skip
def test_a_body_that_cannot_be_meant_gets_decode_error(sign_in, dr, body):
    assert_refused(sign_in(dr, "").post("/v1/session/login", content=body), 400, "decode_error")


def test_who_am_i_tells_privileges_and_the_id_of_an_access_token_only(sign_in, dr):
    admin = sign_in(dr).get("/v1/session/who-am-i").json()
    reader = sign_in(dr, dr.reader_token).get("/v1/session/who-am-i").json()
    executor = sign_in(dr, dr.executor_token).get("/v1/session/who-am-i").json()
    assert "access_token_id" not in admin
    assert 22 <= len(reader["access_token_id"]) <= 23
    assert {"PRIVILEGE_REPLICATION_REVERSE_RELATIONSHIP"} < set(admin["privileges"])
    assert set(reader["privileges"]) == {"PRIVILEGE_REPLICATION_TARGET_READ", "PRIVILEGE_REPLICATION_SOURCE_READ"}
    assert set(executor["privileges"]) == {"PRIVILEGE_REPLICATION_TARGET_READ", "PRIVILEGE_REPLICATION_TARGET_WRITE"}
    assert sign_in(dr).get("/v1/session/roles").json() == ["Administrators"]
    for token in (dr.reader_token, dr.executor_token):
        assert token.startswith("access-v1:")
        assert token.endswith("==")


def test_every_other_call_needs_a_token_that_is_still_good(sign_in, dr):
    open_to_all = {"/v1/version", "/v1/node/state", "/v1/cluster/settings", "/openapi.json", "/v1/session/login"}
    reader = sign_in(dr, dr.reader_token)
    dr.expire_tokens()
    closed = [route for route in ROUTES if route.path not in open_to_all]
    assert len(closed) == len(ROUTES) - len(open_to_all)
    for route in closed:
        path = route.path.replace("{id}", str(uuid.uuid4()))
        for client in (sign_in(dr, ""), sign_in(dr, "session-v1:guess"), reader):
            assert_refused(client.request(route.method, path), 401, "http_unauthorized_error")


def test_each_privilege_opens_its_own_calls_and_no_others(sign_in, dr):
    """Whoever lacks a privilege gets 403; whoever has it gets past that check (to 404, for an id that nobody has)."""
    needed = {"targets": {"GET": "TARGET_READ", "POST": "TARGET_WRITE"}, "sources": {"GET": "SOURCE_READ"}}
    for route in ROUTES:
        if route.privilege.startswith("PRIVILEGE"):
            side = "targets" if route.path.startswith(T) else "sources"
            wanted = (
                "REVERSE_RELATIONSHIP" if "reverse" in route.path else needed[side].get(route.method, "SOURCE_WRITE")
            )
            assert route.privilege == f"PRIVILEGE_REPLICATION_{wanted}", route.path
    have = {
        dr.reader_token: {"PRIVILEGE_REPLICATION_TARGET_READ", "PRIVILEGE_REPLICATION_SOURCE_READ"},
        dr.executor_token: {"PRIVILEGE_REPLICATION_TARGET_READ", "PRIVILEGE_REPLICATION_TARGET_WRITE"},
    }
    checked = 0
    for token, privileges in have.items():
        client = sign_in(dr, token)
        for route in ROUTES:
            if not route.privilege.startswith("PRIVILEGE"):
                continue
            answer = client.request(route.method, route.path.replace("{id}", str(uuid.uuid4())))
            assert (answer.status_code != 403) == (route.privilege in privileges), (route.path, answer.text)
            checked += 1
    assert checked == 38


# -- paths and methods ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", [f"{T}/status", f"{S}/status", S, "/v1/version/", f"{T}/", f"{T}/{uuid.UUID(int=5)}", "/", "/openapi_json"]
)
def test_a_path_that_is_not_exactly_right_gets_404(sign_in, dr, path):
    assert_refused(sign_in(dr).get(path), 404, "http_not_found_error")


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/version"), ("DELETE", f"{T}/status/"), ("GET", f"{S}/reverse-target-relationship"),
     ("GET", f"{T}/{uuid.UUID(int=5)}/make-writable"), ("DELETE", f"{T}/{uuid.UUID(int=5)}/delete")],
)  # fmt: skip
def test_a_known_path_with_another_method_gets_405(sign_in, dr, method, path):
    assert_refused(sign_in(dr).request(method, path), 405, "http_method_not_allowed_error")


@pytest.mark.parametrize(("method", "last"), [("GET", "status"), ("POST", "make-writable"), ("POST", "reconnect")])
def test_unknown_ids_get_404_and_malformed_ones_400(sign_in, dr, prod, targets, method, last):
    admin = sign_in(dr)
    assert_refused(admin.request(method, f"{T}/{uuid.uuid4()}/{last}"), 404, "http_not_found_error")
    assert_refused(admin.request(method, f"{T}/finance/{last}"), 400, "decode_error")
    # The id exists, but this cluster is its source.
    assert_refused(sign_in(prod).request(method, f"{targets}/{last}"), 404, "http_not_found_error")
