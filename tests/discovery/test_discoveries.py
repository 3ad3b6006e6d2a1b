from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest

from swarm.discovery import directory
from swarm.discovery.directory import MAX_FILE_BYTES, MAX_STEM, DirectoryDiscovery
from swarm.discovery.seeds import SeedDiscovery
from swarm.errors import ConfigurationError
from swarm.testing.discoveries import GIVEN, DiscoveryContract
from swarm.text import MAX_ADDRESS


class TestSeedDiscovery(DiscoveryContract):
    shares = False

    def make(self):
        return SeedDiscovery([*GIVEN, GIVEN[0]])

    def test_the_own_address_is_left_out_while_it_is_announced(self):
        peer = self.make()
        assert peer.discover() == GIVEN
        peer.announce("one", GIVEN[1], "abc")
        assert peer.discover() == (GIVEN[0], GIVEN[2])
        peer.withdraw()
        assert peer.discover() == GIVEN


class TestDirectoryDiscovery(DiscoveryContract):
    @pytest.fixture(autouse=True)
    def directory(self, tmp_path):
        self.path = tmp_path / "made" / "on demand"

    def make(self):
        return self.of("heart")

    def of(self, session):
        return DirectoryDiscovery(self.path, session)

    def test_what_is_published(self):
        self.make().announce("clinic/a", GIVEN[0], "abc")
        (file,) = self.path.iterdir()
        assert file.name == "heart@clinic%2Fa.json"
        assert json.loads(file.read_text()) == {
            "name": "clinic/a", "address": GIVEN[0], "incarnation": "abc", "pid": os.getpid(),
            "host": socket.gethostname(),
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

    def test_two_live_peers_of_one_name_see_each_other(self):
        first, second = self.make(), self.make()
        first.announce("one", GIVEN[0], "first")
        second.announce("one", GIVEN[1], "second")
        assert (first.discover(), second.discover()) == ((GIVEN[1],), (GIVEN[0],))
        first.withdraw()
        assert self.make().discover() == (GIVEN[1],)

    def test_so_do_two_that_announce_themselves_at_the_same_moment(self, monkeypatch):
        first, second = self.make(), self.make()
        monkeypatch.setattr(directory, "_of_somebody", lambda file: False)
        first.announce("one", GIVEN[0], "first")
        second.announce("one", GIVEN[1], "second")
        assert first.discover() == (GIVEN[1],)
        assert second.discover() == (GIVEN[0],)

    @pytest.mark.parametrize("host", [socket.gethostname(), None])
    def test_a_peer_takes_the_file_of_a_forerunner_that_died(self, host):
        process = subprocess.Popen([sys.executable, "-c", ""])
        process.wait()
        peer = self.make()
        peer.announce("one", GIVEN[0], "first")
        (file,) = self.path.iterdir()
        record = json.loads(file.read_text()) | {"address": GIVEN[1], "pid": process.pid, "host": host}
        file.write_text(json.dumps(record))
        self.make().announce("one", GIVEN[0], "second")
        assert list(self.path.iterdir()) == [file]

    @pytest.mark.parametrize(("pid", "files"), [(0, 1), (-1, 1), (10**30, 1), ("x", 2), (None, 2)])
    def test_an_odd_process_number_stops_nobody(self, pid, files):
        self.make().announce("one", GIVEN[0], "first")
        (file,) = self.path.iterdir()
        file.write_text(json.dumps(json.loads(file.read_text()) | {"pid": pid}))
        self.make().announce("one", GIVEN[1], "second")
        assert GIVEN[1] in self.make().discover()
        assert len([*self.path.iterdir()]) == files  # one of no process is replaced, one of an unknown process stays

    @pytest.mark.parametrize(("length", "found"), [(1, True), (MAX_ADDRESS, True), (MAX_ADDRESS + 1, False)])
    def test_an_address_has_an_upper_length(self, length, found):
        self.path.mkdir(parents=True)
        (self.path / "one.json").write_text(json.dumps({"name": "one", "address": "x" * length}))
        assert self.make().discover() == (("x" * length,) if found else ())

    @pytest.mark.parametrize("address", ["h :1", "h\u202e:1", "\x1b[2J:1", "h:1\n", "\udcff:1", "h\u00f4te:1", ""])
    def test_an_address_is_of_printable_ascii(self, address):
        self.path.mkdir(parents=True)
        (self.path / "one.json").write_text(json.dumps({"name": "one", "address": address}))
        assert self.make().discover() == ()

    def test_a_file_is_read_again_only_when_it_has_changed(self, monkeypatch):
        reads = []
        announcement = directory._announcement

        def counted(file):
            reads.append(file.stem)
            return announcement(file)

        first, second = self.make(), self.make()
        first.announce("one", GIVEN[0], "abc")
        second.announce("two", GIVEN[1], "abc")
        monkeypatch.setattr(directory, "_announcement", counted)
        looker = self.make()
        for _ in range(3):
            assert looker.discover() == GIVEN[:2]
        assert sorted(reads) == ["heart@one", "heart@two"]
        second.announce("two", GIVEN[2], "abc")
        assert looker.discover() == (GIVEN[0], GIVEN[2])
        first.withdraw()
        assert looker.discover() == (GIVEN[2],)
        assert sorted(reads) == ["heart@one", "heart@two", "heart@two"]

    def test_a_long_name_gets_the_longest_file_name_that_is_allowed(self):
        self.make().announce("n" * 500, GIVEN[0], "abc")
        (file,) = self.path.iterdir()
        assert len(file.stem) == MAX_STEM

    def test_a_successor_of_the_same_name_keeps_its_file(self):
        old, new = self.make(), self.make()
        old.announce("one", GIVEN[0], "first")
        new.announce("one", GIVEN[1], "second")
        old.withdraw()
        assert self.make().discover() == (GIVEN[1],)

    @pytest.mark.parametrize("address", ["0", GIVEN[1]])
    def test_a_file_that_another_peer_has_written_is_left_to_it(self, address):
        peer = self.make()
        peer.announce("one", GIVEN[0], "first")
        (file,) = self.path.iterdir()
        file.write_text(json.dumps({"name": "one", "address": address}))
        peer.withdraw()
        assert self.make().discover() == (address,)

    def test_peers_of_other_names_need_no_second_file(self):
        peers = [self.make() for _ in GIVEN]
        for name, peer, address in zip("bca", peers, GIVEN, strict=True):
            peer.announce(name, address, "abc")
        for peer in peers:
            peer.discover()
        assert sorted(file.name for file in self.path.iterdir()) == [f"heart@{name}.json" for name in "abc"]

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
            DirectoryDiscovery(tmp_path / "file", "heart").announce("one", GIVEN[0], "abc")

    def test_a_failed_announcement_leaves_no_draft(self):
        (self.path / "heart@one.json").mkdir(parents=True)
        with pytest.raises(ConfigurationError, match=r"cannot be written to .*choose another"):
            self.make().announce("one", GIVEN[0], "abc")
        assert [file.name for file in self.path.iterdir()] == ["heart@one.json"]


def test_who_has_ended_is_what_whoever_started_the_peers_says(tmp_path):
    peer = DirectoryDiscovery(tmp_path, "heart")
    assert peer.ended() == frozenset()
    for name in ("peer-2", "a/b", "peer-2"):
        directory.declare_ended(tmp_path, name)
    (tmp_path / directory.ENDED / "odd.json").write_text('{"name": "a\\u001b[31m"}')
    (tmp_path / directory.ENDED / "broken.json").write_text("{")
    assert peer.ended() == {"peer-2", "a/b"}
    assert peer.discover() == (), "it is no announcement"


def test_a_directory_that_is_gone_names_nobody(tmp_path):
    directory.declare_ended(tmp_path / "gone", "peer-2")
    assert DirectoryDiscovery(tmp_path / "gone", "heart").ended() == frozenset()
