from __future__ import annotations

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from swarm_dashboard.access import LOOPBACK, Access


def client(*, token="secret", hosts=LOOPBACK, base="http://127.0.0.1:8700", encrypted=False):
    guarded = Access(PlainTextResponse("the page"), token=token, hosts=hosts, port=8700, encrypted=encrypted)
    return TestClient(guarded, base_url=base, follow_redirects=False)


def test_without_the_token_nothing_is_shown():
    answer = client().get("/")
    assert answer.status_code == 401
    assert "the page" not in answer.text
    assert "secret" not in answer.text


@pytest.mark.parametrize("query", ["?token=", "?token=Secret", "?token=secrets", "?token=s%C3%A9cret", "?other=secret"])
def test_another_token_opens_nothing(query):
    assert client().get(f"/{query}").status_code == 401


def test_the_token_becomes_a_cookie_that_scripts_and_other_sites_cannot_use():
    browser = client()
    answer = browser.get("/?token=secret")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert browser.get("/").text == "the page"


def test_the_cookie_of_an_encrypted_page_stays_encrypted():
    answer = client(encrypted=True).get("/?token=secret")
    assert "; secure" in answer.headers["set-cookie"].lower()


@pytest.mark.parametrize("cookie", ["swarm_page_8700=wrong", "swarm_page_9000=secret", "]=;;\x01=", "swarm_page_8700="])
def test_another_cookie_opens_nothing(cookie):
    assert client().get("/", headers={"cookie": cookie}).status_code == 401


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[", "10.0.0.5:8700"])
def test_another_name_that_leads_here_is_refused(host):
    assert client(token="").get("/", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost:8700", "127.0.0.1", "[::1]:8700"])
def test_the_names_of_this_machine_are_served(host):
    assert client(token="").get("/", headers={"host": host}).status_code == 200


def test_a_page_for_other_machines_has_any_name():
    assert client(token="", hosts=None).get("/", headers={"host": "swarm.hospital.example"}).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_the_page_can_only_be_read(method):
    answer = client(token="").request(method, "/")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


def test_answers_keep_the_page_to_itself():
    for answer in (client(token="").get("/"), client().get("/")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in answer.headers
