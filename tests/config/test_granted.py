"""Settings of a peer that has an identity."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from swarm.config import SETTINGS, resolve
from swarm.config.granted import OF_A_SITE
from swarm.errors import ConfigurationError, IdentityError
from swarm.identity import Consortium, Member, certificates, files
from swarm.identity.consortium import Role

NOW = datetime.now(UTC)
ALONE = Consortium("heart", 1, NOW.isoformat(), (Member("berlin"),))


@pytest.fixture
def resolved(tmp_path):
    key = certificates.new_key()
    authority = certificates.authority(key, "heart", NOW, timedelta(days=9))

    def resolve_with(document=ALONE, environment=None, **arguments):
        own, place = certificates.new_key(), tmp_path / "swarm-identity"
        request = certificates.request(own, "berlin")
        pem = certificates.issue(request, "berlin", key=key, issuer=authority, now=NOW, valid=timedelta(days=9))
        files.make_directory(place)
        files.write(place / files.IDENTITY, certificates.key_pem(own) + pem, files.PRIVATE)
        files.write(place / files.AUTHORITY, authority)
        files.write(place / files.CONSORTIUM, document.signed(key))
        return resolve(arguments, environment=environment or {}, directory=tmp_path)

    return resolve_with


def test_an_identity_in_the_working_directory_is_used(resolved, tmp_path):
    found = resolved(listen="10.0.0.1:7700")
    assert found.settings.identity == tmp_path / "swarm-identity"
    assert found.settings.name == "berlin"
    assert found.settings.named
    assert found.origins["name"] == str(tmp_path / "swarm-identity")


def test_a_name_that_the_certificate_does_not_prove_is_refused(resolved):
    with pytest.raises(ConfigurationError, match=r"name='paris' \(from SWARM_NAME\) contradicts .* for 'berlin'"):
        resolved(environment={"SWARM_NAME": "paris"})
    assert resolved(name="berlin").settings.name == "berlin"


@pytest.mark.parametrize("off", ["insecure", "loopback"])
def test_an_identity_is_left_aside_where_nothing_is_to_be_encrypted(resolved, off):
    assert resolved(**{off: True}).settings.identity is None


def test_an_identity_that_is_named_contradicts_insecure(resolved, tmp_path):
    with pytest.raises(ConfigurationError, match="insecure=True contradicts identity="):
        resolved(insecure=True, identity=tmp_path / "swarm-identity")


def test_an_identity_that_is_named_and_not_there_is_refused(resolved, tmp_path):
    with pytest.raises(IdentityError, match="cannot be read"):
        resolve({"identity": tmp_path / "nowhere"}, environment={}, directory=tmp_path)


def test_the_consortium_gives_defaults(resolved):
    found = resolved(replace(ALONE, allowed={"min_peers": (3, 4), "codec": ("BF16",)}))
    assert (found.settings.min_peers, found.settings.codec) == (3, "bf16")
    assert found.origins["codec"] == "consortium heart"


def test_a_value_that_the_consortium_does_not_allow_is_refused(resolved):
    document = replace(ALONE, allowed={"merge_method": ("mean", "coordmedian")})
    assert resolved(document, merge_method="coordmedian").settings.merge_method == "coordmedian"
    with pytest.raises(ConfigurationError, match=r"'geomedian' .* by consortium heart: allowed is 'mean' or 'coord"):
        resolved(document, merge_method="geomedian")


@pytest.mark.parametrize("allowed", [{"no_such_setting": (1,)}, {"min_peers": ("many",)}])
def test_what_this_version_does_not_know_is_refused(resolved, allowed):
    with pytest.raises(ConfigurationError, match="this version of Swarm does not know: update it"):
        resolved(replace(ALONE, allowed=allowed))


@pytest.mark.parametrize("setting", ["model_dir", "identity", "listen", "insecure"])
def test_a_consortium_does_not_decide_what_each_site_has_for_itself(resolved, setting):
    with pytest.raises(ConfigurationError, match=f"consortium heart gives a value of {setting}, which each site has"):
        resolved(replace(ALONE, allowed={setting: ("elsewhere",)}))


def test_no_consortium_gives_a_path():
    assert {row.name for row in SETTINGS.values() if row.check.is_path} <= OF_A_SITE <= SETTINGS.keys()
    assert {"proxy", "max_mbit"} <= OF_A_SITE


@pytest.mark.parametrize(("declared", "granted", "used"), [(5, 3, 3), (2, 3, 2), (None, 0, 0), (None, 100, 1)])
def test_the_weight_is_at_most_what_is_granted(resolved, declared, granted, used):
    document = replace(ALONE, members=(Member("berlin", weight=granted),))
    assert resolved(document, node_weightage=declared).settings.node_weightage == used


def test_a_number_of_samples_is_as_declared(resolved):
    document = replace(ALONE, members=(Member("berlin", weight=20),))
    found = resolved(document, node_weightage="samples", samples=4500).settings
    assert found.require_weight() == 4500


def test_a_consortium_may_ask_for_samples_and_limit_the_share(resolved):
    document = replace(ALONE, allowed={"node_weightage": ("samples",), "largest_share": (0.5,)})
    found = resolved(document, samples=7).settings
    assert (found.require_weight(), found.largest_share) == (7, 0.5)
    with pytest.raises(ConfigurationError, match="node_weightage=3 .* is not allowed by consortium heart"):
        resolved(document, node_weightage=3)


def test_members_that_train_can_be_required_without_naming_them(resolved):
    three = (Member("berlin"), Member("paris"), Member("eve", role=Role.OBSERVER))
    found = resolved(replace(ALONE, members=three), require_members=True).settings
    assert (found.min_peers, found.expected_peers) == (2, 0)
    with pytest.raises(ConfigurationError, match=r"contradicts min_peers=3: .* 2 members that train \(berlin, paris\)"):
        resolved(replace(ALONE, members=three), require_members=True, min_peers=3)


def test_other_members_are_where_the_swarm_is(resolved):
    document = replace(ALONE, members=(Member("berlin"), Member("paris", address="10.0.0.2:7700")))
    resolved(document, listen="10.0.0.1:7700").settings.require_swarm()
    with pytest.raises(ConfigurationError, match=r"listen='127\.0\.0\.1:0' .*paris@10\.0\.0\.2:7700: set listen"):
        resolved(document)


def test_a_loopback_address_is_refused_where_members_are_elsewhere_unless_a_plugin_carries_everything(resolved):
    document = replace(ALONE, members=(Member("berlin"), Member("paris", address="10.0.0.5:7700")))
    with pytest.raises(ConfigurationError, match=r"listen='127.0.0.1:7700' cannot be reached by the other members"):
        resolved(document, listen="127.0.0.1:7700")
    assert resolved(document, listen="127.0.0.1:7700", transport="nats").settings.listen == "127.0.0.1:7700"
