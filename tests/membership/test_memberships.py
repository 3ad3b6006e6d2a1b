from __future__ import annotations

import json
import os

import pytest

from swarm.errors import ConfigurationError
from swarm.membership.directory import MAX_FILE_BYTES, DirectoryMembership
from swarm.membership.seeds import SeedMembership
from swarm.testing.memberships import GIVEN, MembershipContract


class TestSeedMembership(MembershipContract):
    shares = False

    def make(self):
        return SeedMembership([*GIVEN, GIVEN[0]])


class TestDirectoryMembership(MembershipContract):
    @pytest.fixture(autouse=True)
    def directory(self, tmp_path):
        self.path = tmp_path / "made" / "on demand"

    def make(self):
        return self.of("heart")

    def of(self, session):
        return DirectoryMembership(self.path, session)

    def test_what_is_published(self):
        self.make().announce("clinic/a", GIVEN[0], "abc")
        (file,) = self.path.iterdir()
        assert json.loads(file.read_text()) == {
            "name": "clinic/a", "address": GIVEN[0], "incarnation": "abc", "pid": os.getpid(),
        }  # fmt: skip

    @pytest.mark.parametrize("name", ["..", ".", "../../etc/passwd", "a b", "ä", "x.tmp", 100 * "ä", 128 * "."])
    def test_any_name_stays_inside_the_directory(self, name):
        peer = self.make()
        peer.announce(name, GIVEN[0], "abc")
        assert [file.parent for file in self.path.iterdir()] == [self.path]
        assert self.make().discover() == (GIVEN[0],)
        peer.withdraw()
        assert not list(self.path.iterdir())

    @pytest.mark.parametrize(
        "content",
        [
            b"", b'{"address": "127.0.', b"\xff\xfe", b"[]", b"3", b"{}", b'{"name": "a", "address": 3}',
            b'{"name": "a", "address": ""}', b'{"address": "127.0.0.1:9"}', b'{"name": 3, "address": "127.0.0.1:9"}',
            b'{"name": "a\\u001b[31m", "address": "127.0.0.1:9"}', b'{"name": "a", "address": "127.0.0.1:9\\n"}',
            b'{"name": "a\\ud800", "address": "127.0.0.1:9"}',
            b'{"name": "a", "address": "' + b"x" * MAX_FILE_BYTES + b'"}', b"[" * MAX_FILE_BYTES,
        ],
    )  # fmt: skip
    def test_what_is_no_announcement_is_passed_over(self, content):
        self.make().announce("one", GIVEN[0], "abc")
        (self.path / "foreign.json").write_bytes(content)
        (self.path / "directory.json").mkdir()
        os.mkfifo(self.path / "pipe.json")
        (self.path / "link.json").symlink_to("nowhere")
        (self.path / "two.123.tmp").write_bytes(b'{"name": "two", "address": "127.0.0.1:9"}')
        assert self.make().discover() == (GIVEN[0],)

    def test_a_successor_of_the_same_name_keeps_its_file(self):
        old, new = self.make(), self.make()
        old.announce("one", GIVEN[0], "first")
        new.announce("one", GIVEN[1], "second")
        old.withdraw()
        assert self.make().discover() == (GIVEN[1],)

    @pytest.mark.parametrize(
        "peers",
        [
            [("heart", "one"), ("lungs", "one")],
            [("a@b", "c"), ("a", "b@c"), ("a%40b", "c")],
            [("x" * 128, "one" * 40), ("x" * 128, "one" * 40 + "!"), ("x" * 127 + "y", "one" * 40)],
        ],
        ids=["one name", "names with a separator", "long names"],
    )
    def test_peers_of_several_sessions_share_a_directory_and_their_names(self, peers):
        announced = {}
        for number, (session, name) in enumerate(peers):
            announced[f"127.0.0.1:{1000 + number}"] = peer = self.of(session)
            peer.announce(name, f"127.0.0.1:{1000 + number}", "abc")
        assert {*self.make().discover()} == {*announced}
        _, last = announced.popitem()
        last.withdraw()
        assert {*self.make().discover()} == {*announced}

    def test_a_directory_that_does_not_exist_yet_holds_nobody(self):
        assert self.make().discover() == ()

    def test_a_place_that_cannot_be_written_to_is_named(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(ConfigurationError, match=r"rendezvous.*file.*choose another"):
            DirectoryMembership(tmp_path / "file", "heart").announce("one", GIVEN[0], "abc")
