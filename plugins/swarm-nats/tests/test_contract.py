from __future__ import annotations

import pytest

from swarm.identity import Identity
from swarm.identity.throwaway import make_identities
from swarm.testing import DiscoveryContract, TransportContract
from swarm_nats.discovery import NatsDiscovery
from swarm_nats.transport import NatsTransport


class TestNatsTransport(TransportContract):
    @pytest.fixture(autouse=True)
    def hub(self, shared_server):
        self.settings = shared_server.settings

    def make(self):
        return NatsTransport(self.settings)


class TestNatsTransportWithTls(TransportContract):
    @pytest.fixture(autouse=True)
    def hub(self, shared_server, tmp_path):
        self.settings = shared_server.settings
        make_identities({"sender": tmp_path / "identity"})
        self.directory = tmp_path / "identity"

    def make(self):
        return NatsTransport(self.settings, identity=Identity(self.directory))


class TestNatsDiscovery(DiscoveryContract):
    @pytest.fixture(autouse=True)
    def hub(self, shared_server, request):
        self.settings = shared_server.settings
        self.session = request.node.name
        self.made: list[NatsDiscovery] = []
        yield
        for each in self.made:
            each.withdraw()

    def make(self):
        self.made.append(NatsDiscovery(self.settings, self.session))
        return self.made[-1]
