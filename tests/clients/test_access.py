"""Callers of their own: tokens of the laptop, roles of a space, and tokens that somebody forged."""

import base64
import hashlib
import hmac
import json
import os
import subprocess
import time

import pytest

BINARY = os.environ.get("OUTCROP_BIN", "target/debug/outcrop")
SPACE = "clients-vault"


def token(instance, user, *groups):
    command = [BINARY, "token", user, "--data", str(instance.log.parent)]
    if groups:
        command += ["--groups", ",".join(groups)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def bearer(instance, user, *groups):
    return {"authorization": f"Bearer {token(instance, user, *groups)}"}


def part(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def finished(instance, run_id):
    begun = time.monotonic()
    while (run := instance.http("GET", f"/v1/runs/{run_id}")[2])["status"] in ("QUEUED", "RUNNING"):
        assert time.monotonic() - begun < 120, run
        time.sleep(0.2)
    return run


@pytest.fixture(scope="module")
def vault(instance):
    """A space that the group crew may enter, with one document for all of them and one for ada."""
    roles = {"reader": ["group:crew"], "editor": ["user:ada"]}
    status, _, space = instance.http("PUT", f"/v1/spaces/{SPACE}", {"roles": roles})
    assert status == 200 and space["role"] == "admin", space
    documents = {}
    for name, readers in [("shared.txt", ["everyone"]), ("adas.txt", ["user:ada"])]:
        body = {"name": name, "content": f"The ibex of {name} climbs.", "space": SPACE, "readers": readers}
        status, _, accepted = instance.http("POST", "/v1/documents", body)
        assert status == 202, accepted
        assert finished(instance, accepted["run_id"])["status"] == "SUCCEEDED"
        documents[name] = accepted["document_id"]
    return documents


@pytest.mark.parametrize(
    ("user", "groups", "found"),
    [
        ("ada", ["crew"], {"shared.txt", "adas.txt"}),
        ("ada", [], {"shared.txt", "adas.txt"}),
        ("bob", ["crew"], {"shared.txt"}),
        ("eve", ["crews"], None),
        ("crew", [], None),
    ],
)
def test_a_caller_finds_what_names_them(instance, vault, user, groups, found):
    body = {"query": "ibex climbs", "space": SPACE, "mode": "lexical"}
    # Ada is an editor by name, in the group or not.
    status, _, reply = instance.http("POST", "/v1/search", body, bearer(instance, user, *groups))
    if found is None:
        assert (status, reply["name"]) == (404, "UnknownSpace")
    else:
        names = {name for name, id in vault.items() if id in {hit["document_id"] for hit in reply["results"]}}
        assert (status, names) == (200, found), reply


@pytest.mark.parametrize(
    ("user", "method", "path", "body", "status", "name"),
    [
        ("bob", "POST", "/v1/documents", {"name": "shared.txt", "content": "x", "space": SPACE}, 403, "RoleRequired"),
        ("bob", "PUT", f"/v1/spaces/{SPACE}", {"roles": {"admin": ["user:bob"]}}, 403, "RoleRequired"),
        ("ada", "PUT", f"/v1/spaces/{SPACE}", {"roles": {"admin": ["user:ada"]}}, 403, "RoleRequired"),
        ("ada", "POST", "/v1/orders", {"space": SPACE, "orders": []}, 403, "RoleRequired"),
        ("ada", "PUT", "/v1/spaces/of-adas-own", {}, 404, "UnknownSpace"),
        ("ada", "POST", "/v1/documents", {"name": "a.txt", "content": "x", "readers": ["bob"], "space": SPACE}, 400, "InvalidPrincipal"),
    ],
)
def test_what_a_role_does_not_allow_is_named(instance, vault, user, method, path, body, status, name):
    found, headers, problem = instance.http(method, path, body, bearer(instance, user, "crew"))
    assert (found, problem["name"]) == (status, name), problem
    assert headers["content-type"] == "application/problem+json"


def test_a_denied_document_and_a_missing_one_look_the_same(instance, vault):
    denied = vault["adas.txt"]
    missing = denied[:-4] + "0000"
    for path in ("", "/text"):
        told = []
        for id in (denied, missing):
            status, headers, body = instance.http("GET", f"/v1/documents/{id}{path}", None, bearer(instance, "bob", "crew"))
            kept = sorted((name.lower(), value) for name, value in headers.items() if name.lower() != "date")
            told.append((status, kept, json.dumps(body).replace(id, "ID")))
        assert told[0] == told[1] and told[0][0] == 404


def test_forged_tokens_are_refused(instance, vault):
    good = token(instance, "bob", "crew")
    header, claims, signature = good.split(".")
    owner = {**json.loads(base64.urlsafe_b64decode(claims + "==")), "sub": "local"}
    signed = hmac.new(b"secret", f"{header}.{part(owner)}".encode(), hashlib.sha256).digest()
    forged = [
        f"{header}.{part(owner)}.{signature}",
        f"{header}.{part(owner)}." + base64.urlsafe_b64encode(signed).decode().rstrip("="),
        f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(owner)}.",
        f"{part({'alg': 'RS256', 'typ': 'JWT'})}.{part(owner)}.{signature}",
        good[:-2],
        "local",
    ]
    for text in forged:
        status, headers, problem = instance.http(
            "GET", f"/v1/documents/{vault['adas.txt']}", None, {"authorization": f"Bearer {text}"}
        )
        assert (status, problem["name"]) == (401, "InvalidToken"), text
        assert headers["www-authenticate"].startswith("Bearer")
