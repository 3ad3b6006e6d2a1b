"""Who a peer is: its key, its certificate, the consortium that issued it, and what the consortium allows."""

from swarm.identity.certificates import Certificate
from swarm.identity.consortium import Consortium, Member, Role
from swarm.identity.identity import Identity, identity_at

__all__ = ["Certificate", "Consortium", "Identity", "Member", "Role", "identity_at"]
