"""Calls about the cluster and about who asks. Shapes SEEN LIVE on 7.8.0 unless said."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from dashboard.simulator import wire
from dashboard.simulator.calls import Answer

if TYPE_CHECKING:
    from dashboard.simulator.calls import Ask
    from dashboard.simulator.wire import Json


def version(ask: Ask) -> Answer:
    return Answer(
        HTTPStatus.OK,
        {
            "build_date": "2026-02-07T02:28:15Z",
            "build_id": "341775.1.14",
            "flavor": "release",
            "revision_id": f"Qumulo Core {ask.cluster.version}",
        },
    )


def node_state(ask: Ask) -> Answer:
    return Answer(HTTPStatus.OK, {"cluster_id": ask.cluster.uuid, "node_id": 1, "state": "ACTIVE"})


def cluster_settings(ask: Ask) -> Answer:
    return Answer(HTTPStatus.OK, {"cluster_name": ask.cluster.name})


def login(ask: Ask) -> Answer:
    names = ("username", "password")
    body = wire.fields(ask.call.json(), dict.fromkeys(names, str), required=names)
    token = ask.cluster.log_in(body["username"], body["password"], ask.now)
    return Answer(HTTPStatus.OK, {"bearer_token": token})


def who_am_i(ask: Ask) -> Answer:
    """`access_token_id` comes with access tokens only (DOCUMENTED)."""
    it = ask.account
    body: Json = {
        "id": it.user_id,
        "name": it.name,
        "primary_group": "513",
        "sid": f"S-1-5-21-875131741-2032918968-824250182-{it.user_id}",
        "uid": "0" if it.user_id == "500" else it.user_id,
        "home_directory": None,
        "can_change_password": True,
        "privileges": list(it.privileges),
    }
    if it.access_token_id is not None:
        body["access_token_id"] = it.access_token_id
    return Answer(HTTPStatus.OK, body)


def roles(ask: Ask) -> Answer:
    return Answer(HTTPStatus.OK, list(ask.account.roles))
