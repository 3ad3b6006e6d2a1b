"""The place of a peer in a job of several tasks, from the variables of the scheduler."""

from __future__ import annotations

import json
import stat
import string
from pathlib import Path

import pytest
import yaml

from swarm.cli.cluster import NO_CLUSTER, cluster_of, first_host
from swarm.cli.run import plan
from swarm.config import resolve
from swarm.errors import ConfigurationError

SLURM = {
    "SLURM_PROCID": "2",
    "SLURM_NTASKS": "4",
    "SLURM_STEP_ID": "0",
    "SLURM_JOB_ID": "812345",
    "SLURM_JOB_NODELIST": "n[07-09,12]",
    "SLURM_JOB_NUM_NODES": "4",
    "SLURM_LOCALID": "0",
}
TORCHRUN = {
    "RANK": "1",
    "WORLD_SIZE": "2",
    "LOCAL_RANK": "0",
    "LOCAL_WORLD_SIZE": "1",
    "MASTER_ADDR": "n07",
    "MASTER_PORT": "29500",
    "TORCHELASTIC_RUN_ID": "none",
}
JOBSET = {"JOB_COMPLETION_INDEX": "3", "SWARM_WORLD_SIZE": "4"}
POD = "heart-peers-0-3.heart.default.svc.cluster.local"
EXAMPLES = Path(__file__).parents[2] / "examples" / "clusters"


def place(environment: dict[str, str], host: str = "unused") -> tuple[object, ...]:
    found = cluster_of(environment, lambda: host)
    settings = resolve(
        environment={"SWARM_INSECURE": "true", **environment},
        directory=Path("no swarm.toml here"),
        otherwise=found.settings(environment, {}),
    ).settings
    return found.scheduler, settings.name, settings.rank, settings.world_size, settings.listen, settings.peers


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (SLURM, ("Slurm", "peer-2", 2, 4, "0.0.0.0:0", ("n07:22345",))),
        (SLURM | {"SLURM_PROCID": "0"}, ("Slurm", "peer-0", 0, 4, "0.0.0.0:22345", ())),
        (SLURM | {"SLURM_STEP_ID": "3"}, ("Slurm", "peer-2", 2, 4, "0.0.0.0:0", ("n07:22348",))),
        (SLURM | {"SLURM_STEP_NODELIST": "m1"}, ("Slurm", "peer-2", 2, 4, "0.0.0.0:0", ("m1:22345",))),
        (SLURM | {"SLURM_JOB_NUM_NODES": "1"}, ("Slurm", "peer-2", 2, 4, "127.0.0.1:0", ("127.0.0.1:22345",))),
        (SLURM | {"SLURM_STEP_NUM_TASKS": "3"}, ("Slurm", "peer-2", 2, 3, "0.0.0.0:0", ("n07:22345",))),
        (SLURM | {"SLURM_STEP_NUM_TASKS": ""}, ("Slurm", "peer-2", 2, 4, "0.0.0.0:0", ("n07:22345",))),
        (
            SLURM | {"SLURM_STEP_NUM_NODES": "1", "SLURM_PROCID": "0"},
            ("Slurm", "peer-0", 0, 4, "127.0.0.1:22345", ()),
        ),
        (TORCHRUN, ("torchrun", "peer-1", 1, 2, "0.0.0.0:0", ("n07:29501",))),
        (TORCHRUN | {"LOCAL_WORLD_SIZE": "2"}, ("torchrun", "peer-1", 1, 2, "127.0.0.1:0", ("127.0.0.1:29501",))),
        (TORCHRUN | {"RANK": "0"}, ("torchrun", "peer-0", 0, 2, "0.0.0.0:29501", ())),
        (
            JOBSET,
            ("JobSet", "peer-3", 3, 4, "0.0.0.0:0", ("heart-peers-0-0.heart.default.svc.cluster.local:7700",)),
        ),
    ],
)
def test_the_scheduler_gives_rank_size_and_addresses(environment: dict[str, str], expected: tuple[object, ...]) -> None:
    assert place(environment, POD) == expected


def test_each_process_of_a_torchrun_that_slurm_started_is_a_peer(python: str) -> None:
    task = SLURM | {"SLURM_PROCID": "1", "SLURM_NTASKS": "2"}  # two nodes with four processes each
    processes = [
        task | TORCHRUN | {"RANK": str(4 + local), "LOCAL_RANK": str(local), "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}
        for local in range(4)
    ]
    assert [place(each) for each in processes] == [
        ("torchrun", f"peer-{rank}", rank, 8, "0.0.0.0:0", ("n07:29501",)) for rank in range(4, 8)
    ]
    _, seen = plan([python], {}, {**processes[0], "SWARM_INSECURE": "true"})
    assert not seen.keys() & {"SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "RANK", "WORLD_SIZE", "LOCAL_RANK"}


def test_where_torchrun_starts_one_process_in_each_task_slurm_says_which(python: str) -> None:
    assert place(SLURM | TORCHRUN | {"RANK": "0", "WORLD_SIZE": "1"}) == place(SLURM)


def test_variables_of_torchrun_that_it_did_not_set_come_after_those_of_slurm() -> None:
    set_by_hand = {name: value for name, value in TORCHRUN.items() if name != "TORCHELASTIC_RUN_ID"}
    assert place(SLURM | set_by_hand) == place(SLURM)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {name: value for name, value in SLURM.items() if name != "SLURM_STEP_ID"},  # the script of sbatch itself
        SLURM | {"SLURM_NTASKS": "1"},
        SLURM | {"SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"},  # the shell of salloc
        TORCHRUN | {"WORLD_SIZE": "1"},
        {name: value for name, value in TORCHRUN.items() if name != "MASTER_ADDR"},
        {"JOB_COMPLETION_INDEX": "3"},
        {"JOB_COMPLETION_INDEX": "0", "SWARM_WORLD_SIZE": "1"},
    ],
)
def test_one_task_is_a_site_of_its_own(environment: dict[str, str]) -> None:
    assert cluster_of(environment, lambda: POD) is NO_CLUSTER


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("n07", "n07"),
        ("n[07-09,12]", "n07"),
        ("n[7,9]", "n7"),
        ("login,n[1-2]", "login"),
        ("rack[1-2]n[01-04,09],login", "rack1n01"),
        ("gpu-a[003]", "gpu-a003"),
    ],
)
def test_the_first_host_of_a_list_of_slurm(nodes: str, first: str) -> None:
    assert first_host(nodes) == first


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        (SLURM | {"SLURM_JOB_NODELIST": ""}, "list of nodes '' .*has no host"),
        (SLURM | {"SLURM_PROCID": "two"}, "SLURM_PROCID='two' is no number"),
        (SLURM | {"SLURM_PROCID": ""}, "SLURM_PROCID is not set"),
        (SLURM | {"SLURM_PROCID": "4", "SWARM_RANK": "1"}, "SLURM_PROCID=4 contradicts SLURM_NTASKS=4: .* 0 to 3"),
        (SLURM | {"SLURM_STEP_NUM_TASKS": "2"}, "SLURM_PROCID=2 contradicts SLURM_STEP_NUM_TASKS=2: .* 0 to 1"),
        (TORCHRUN | {"MASTER_PORT": "65535"}, "MASTER_PORT=65535 .* leaves no port above it"),
        (JOBSET | {"JOB_COMPLETION_INDEX": "1"}, "from which the address of the first one does not follow"),
        (JOBSET | {"SWARM_WORLD_SIZE": "3"}, "JOB_COMPLETION_INDEX=3 contradicts SWARM_WORLD_SIZE=3"),
    ],
)
def test_what_is_not_enough_is_refused_by_name(environment: dict[str, str], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        cluster_of(environment, lambda: POD)


def test_what_is_given_beats_the_scheduler(python: str) -> None:
    user = {**SLURM, "SWARM_RANK": "1", "SWARM_RENDEZVOUS": "/shared", "SWARM_INSECURE": "true"}
    settings = resolve(environment=plan([python], {}, user)[1]).settings
    assert (settings.rank, settings.world_size) == (1, 4)
    assert (settings.listen, settings.peers) == ("127.0.0.1:0", ()), "the swarm meets elsewhere"


@pytest.mark.parametrize("environment", [SLURM, TORCHRUN])
def test_frameworks_in_the_script_do_not_take_the_peers_for_processes_of_one_training(
    environment: dict[str, str], python: str
) -> None:
    _, seen = plan([python], {}, {**environment, "SWARM_INSECURE": "true"})
    assert seen.keys() & environment.keys() <= {name for name in environment if name.startswith("SLURM_JOB")} | {
        "SLURM_STEP_ID"
    }
    assert seen["SWARM_RANK"] == str(cluster_of(environment).rank)


def test_each_task_has_a_model_directory_of_its_own(python: str, tmp_path: Path) -> None:
    _, seen = plan([python], {"model_dir": tmp_path}, {**SLURM, "SWARM_INSECURE": "true"})
    assert seen["SWARM_MODEL_DIR"] == str(tmp_path / "peer-2")


def test_the_table_of_settings_says_where_they_come_from(swarm) -> None:
    shown = swarm("config", "--json", SWARM_INSECURE="true", **SLURM)
    table = json.loads(shown.stdout)
    assert table["rank"] == {"value": 2, "origin": "SLURM_PROCID"}
    assert table["world_size"] == {"value": 4, "origin": "SLURM_NTASKS"}
    assert table["peers"] == {"value": ["n07:22345"], "origin": "SLURM_JOB_NODELIST"}


def test_the_peers_of_one_owner_get_identities_by_one_command(swarm, python: str, tmp_path: Path) -> None:
    made = swarm("identities", "--peers", "3", "identities")
    assert made.returncode == 0, made.stderr
    assert "private keys" in made.stderr
    assert stat.S_IMODE((tmp_path / "identities").stat().st_mode) == 0o700
    _, seen = plan([python], {}, {**SLURM, "SLURM_NTASKS": "3"}, identities=tmp_path / "identities")
    assert seen["SWARM_IDENTITY"] == str(tmp_path / "identities" / "peer-2")
    again = swarm("identities", "--peers", "3", "identities")
    assert (again.returncode, again.stderr) == (
        2,
        "swarm: identities is not empty: name a new directory, or use the identities that are there\n",
    )
    (tmp_path / "file").touch()
    file = swarm("identities", "--peers", "3", "file")
    assert (file.returncode, file.stderr) == (2, "swarm: file is a file: name a new directory\n")


def test_identities_of_a_cluster_need_a_cluster_and_one_for_each_rank(python: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is for a job of several tasks"):
        plan([python], {"listen": "127.0.0.1:0"}, {}, identities=tmp_path)
    with pytest.raises(ConfigurationError, match=r"peer-2 is not there: make .* `swarm identities -n 4 "):
        plan([python], {}, SLURM, identities=tmp_path)


def test_between_machines_a_task_without_an_identity_is_told_how_to_get_one(python: str) -> None:
    with pytest.raises(ConfigurationError, match="`swarm identities` for peers of one owner"):
        plan([python], {}, SLURM)


def test_the_manifest_gives_what_a_pod_needs() -> None:
    manifest = yaml.safe_load((EXAMPLES / "jobset.yaml").read_text(encoding="utf-8"))
    (job,) = manifest["spec"]["replicatedJobs"]
    spec = job["template"]["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    variables = {each["name"]: each["value"] for each in container["env"]}
    assert spec["completionMode"] == "Indexed"
    assert int(variables["SWARM_WORLD_SIZE"]) == spec["completions"] == spec["parallelism"]
    assert manifest["spec"]["network"]["enableDNSHostnames"] is True
    pod = f"{manifest['metadata']['name']}-{job['name']}-0-3.{manifest['metadata']['name']}.default.svc.cluster.local"
    found = cluster_of({**variables, "JOB_COMPLETION_INDEX": "3"}, lambda: pod)
    assert found.place["peers"].value[0].startswith("swarm-peers-0-0.swarm.")
    assert found.place["peers"].value[0].endswith(f":{container['ports'][0]['containerPort']}")


def test_the_manifest_is_valid_by_the_published_schema() -> None:
    """The Job in it, by that of Kubernetes; around it, the fields of v1alpha2 that it uses."""
    import kubernetes_validate

    manifest = yaml.safe_load((EXAMPLES / "jobset.yaml").read_text(encoding="utf-8"))
    (job,) = manifest["spec"]["replicatedJobs"]
    whole = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}, "spec": job["template"]["spec"]}
    kubernetes_validate.validate(whole, "1.31", strict=True)
    assert manifest.keys() == {"apiVersion", "kind", "metadata", "spec"}
    assert (manifest["apiVersion"], manifest["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    assert manifest["spec"].keys() <= {"network", "failurePolicy", "successPolicy", "replicatedJobs", "suspend"}
    assert manifest["spec"]["network"].keys() <= {"enableDNSHostnames", "subdomain", "publishNotReadyAddresses"}
    assert job.keys() <= {"name", "replicas", "template"}
    assert not set(manifest["metadata"]["name"] + job["name"]) - set(string.ascii_lowercase + string.digits + "-")
