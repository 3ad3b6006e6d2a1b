from __future__ import annotations

import base64
import zlib
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.errors import IdentityError
from swarm.identity.invitation import PREFIX, Invitation

from .conftest import START

PIN = bytes(range(32))


def made(name="berlin", addresses=("10.0.0.1:7701",)):
    return Invitation.new(name, START + timedelta(days=1), PIN, addresses)


def changed(invitation, at, byte):
    """The text of an invitation with one byte changed and the checksum made right again."""
    words = invitation.text().removeprefix(PREFIX)
    data = bytearray(base64.urlsafe_b64decode(words + "=" * (-len(words) % 4))[:-4])
    data[at] = byte
    whole = bytes(data) + zlib.crc32(data).to_bytes(4, "big")
    return PREFIX + base64.urlsafe_b64encode(whole).rstrip(b"=").decode()


def test_it_is_one_line_that_tells_all_that_a_site_needs():
    invitation = made(addresses=("10.0.0.1:7701", "[2001:db8::1]:7701"))
    text = invitation.text()
    assert text.startswith("swarm1-")
    assert "\n" not in text
    assert len(text) < 160
    read = Invitation.parse(text)
    assert read == invitation
    assert (read.name, read.pin) == ("berlin", PIN)
    assert read.addresses == ("10.0.0.1:7701", "[2001:db8::1]:7701")
    assert read.expires == START + timedelta(days=1)


def test_each_has_a_secret_of_its_own():
    first, second = made(), made()
    assert first.secret != second.secret
    assert first.number != second.number
    assert first.key != second.key


def test_a_line_of_an_earlier_version_is_read_as_before():
    read = Invitation.parse(
        "swarm1-AWs4PgBkZWZnaGlqa2xtbm9wcXJzAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8CBmJlcmxpbg0xMC4wLjAuMTo3NzAxFTHNjw"
    )
    assert read.secret == bytes(range(100, 116))
    assert (read.name, read.pin, read.addresses) == ("berlin", PIN, ("10.0.0.1:7701",))
    assert read.expires == START + timedelta(days=1)


def test_nobody_can_guess_its_secret():
    assert len(made().secret) == 16
    assert len(made().key) == 32


def test_a_line_that_stands_for_the_same_bytes_is_refused():
    text = next(text for length in (1, 2, 3) if len(text := made("b" * length).text().removeprefix(PREFIX)) % 4 == 2)
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = text[:-1] + digits[digits.index(text[-1]) + 1]  # in bits that no byte has
    assert base64.urlsafe_b64decode(other + "==") == base64.urlsafe_b64decode(text + "==")
    with pytest.raises(IdentityError, match="damaged"):
        Invitation.parse(PREFIX + other)


def test_white_space_of_a_mail_counts_for_nothing():
    text = made().text()
    assert Invitation.parse(f"  {text[:40]}\n  {text[40:]}\n").text() == text


def test_its_secret_is_not_shown():
    invitation = made()
    assert repr(invitation.secret) not in repr(invitation)
    assert "secret" not in repr(invitation)


@pytest.mark.parametrize("cut", [8, 30, -1])
def test_a_part_of_it_is_refused(cut):
    with pytest.raises(IdentityError, match="damaged: copy the whole line again"):
        Invitation.parse(made().text()[:cut])


def test_one_wrong_character_is_found():
    text = made().text()
    for at in range(len(PREFIX), len(text)):
        other = "A" if text[at] != "A" else "B"
        with pytest.raises(IdentityError, match="damaged"):
            Invitation.parse(text[:at] + other + text[at + 1 :])


@pytest.mark.parametrize(
    ("at", "byte"), [(0, 2), (53, 0), (53, 1), (53, 3), (53, 9), (54, 200), (55, 0xFF), (55, 0x20)]
)
def test_content_out_of_bounds_is_refused(at, byte):
    with pytest.raises(IdentityError, match="damaged"):
        Invitation.parse(changed(made(), at, byte))


@pytest.mark.parametrize("text", ["", "swarm", "hello", "swarm1-" * 1000])
def test_other_text_is_no_invitation(text):
    with pytest.raises(IdentityError, match="no invitation"):
        Invitation.parse(text)


@pytest.mark.parametrize(
    ("name", "addresses"),
    [
        ("Berlin", ("a:1",)),
        ("berlin", ()),
        ("berlin", ("a",)),
        ("berlin", ("0.0.0.0:1",)),
        ("berlin", ("[::]:1",)),
        ("berlin", ("a:0",)),
        ("berlin", ("a:99999",)),
        ("berlin", ("a" * 300 + ":1",)),
        ("berlin", ("a:1",) * 5),
    ],
)
def test_none_is_made_that_nobody_could_use(name, addresses):
    with pytest.raises(IdentityError):
        made(name, addresses)


@given(st.text(alphabet="ABCabc019_-", max_size=200))
def test_any_other_words_are_refused_with_a_sentence(words):
    with pytest.raises(IdentityError):
        Invitation.parse(PREFIX + words)
