from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.harness.workers import ROOT
from benchmarks.learning import arms, peers, transforms
from benchmarks.learning.__main__ import LEARNING
from benchmarks.learning.data import problem
from benchmarks.learning.figures import interval, paired, summary
from benchmarks.learning.gates import GATES, Result
from benchmarks.learning.models import MODELS, build
from benchmarks.learning.outcome import Outcome, measure
from benchmarks.learning.plan import Plan
from benchmarks.learning.site import Hooks
from benchmarks.learning.training import Batches, Trainee, accuracy, auc, copied, distance
from swarm.demo.sites import Samples
from swarm.errors import ConfigurationError

SMALL = ("--task", "breast_cancer", "--partition", "iid", "--peers", "2")
TINY = Plan(task="breast_cancer", partition="iid", peers=2, interval=2, batch=8, steps=5)


def test_a_policy_is_compared_with_the_fixed_interval_of_as_many_rounds(monkeypatch):
    measured = []

    def measure_like(plan: Plan, seed: int, **_: object) -> Outcome:
        measured.append((plan.policy, plan.interval, seed))
        rounds = 6 if plan.policy else 1 + 400 // plan.interval
        return replace(outcome(seed, 0.9 if plan.policy else 0.8 + seed / 1000), rounds=rounds)

    monkeypatch.setattr("benchmarks.learning.__main__.measure", measure_like)
    words = (
        "--peers",
        "2",
        "--policy",
        "drift",
        "--interval",
        "16",
        "--steps",
        "400",
        "--seeds",
        "2",
        "--first-seed",
        "1",
    )
    record = LEARNING.record([*words, "--against-fixed"])
    assert measured == [("drift", 16, 1), ("drift", 16, 2), (None, 80, 1), (None, 80, 2)]
    assert record["fixed_rounds"] == [6, 6]
    assert record["gain_over_fixed"] == pytest.approx(0.0985)
    assert record["gain_over_fixed_low"] < 0.0985 < record["gain_over_fixed_high"]
    with pytest.raises(RuntimeError, match="--policy"):
        LEARNING.record(["--against-fixed", "--seeds", "1"])


def test_each_site_sees_images_in_its_own_way():
    images = np.random.default_rng(0).random((3, 1, 8, 8), np.float32)
    seen = [transforms.of_site(site, images) for site in range(8)]
    assert all(each.shape == images.shape and each.dtype == np.float32 for each in seen)
    assert all(each.min() >= 0 and each.max() <= 1 for each in seen)
    assert all(not np.allclose(seen[one], seen[other]) for one in range(8) for other in range(one))
    assert np.allclose(transforms.blur(np.ones((1, 1, 4, 4), np.float32))[0, 0, 1:3, 1:3], 1)


def test_test_samples_are_in_no_site_and_each_site_has_its_kind_of_them():
    sites = problem(Plan(task="digits", partition="feature", skew="dir0.5", peers=4), 0)
    assert len(sites.test) == sum(len(site.own) for site in sites.sites)
    assert np.array_equal(sites.sites[1].own.y, sites.sites[0].own.y)
    assert not np.array_equal(sites.sites[1].own.x, sites.sites[0].own.x)
    plain = problem(Plan(task="digits", partition="dir0.5", peers=4), 0)
    tested = {row.tobytes() for row in plain.test.x}
    trained = [row.tobytes() for site in plain.sites for part in (site.train, site.validation) for row in part.x]
    assert not tested & set(trained)
    assert len(trained) + len(plain.test) == 1797
    assert 0.2 < plain.label_distance < 0.8


def test_hospitals_are_the_natural_sites():
    sites = problem(Plan(task="heart", partition="natural", peers=4), 0)
    assert len(sites.test) == sum(len(site.own) for site in sites.sites) == 184
    assert [len(site.train) + len(site.validation) for site in sites.sites] == [243, 235, 98, 160]


@pytest.mark.parametrize(
    "plan",
    [
        Plan(task="digits", partition="natural", peers=4),
        Plan(task="heart", partition="natural", peers=3),
        Plan(task="heart", partition="feature", peers=4),
        Plan(task="heart", model="cnn", partition="iid", peers=2),
    ],
)
def test_what_a_task_has_not_is_an_error(plan):
    with pytest.raises(RuntimeError):
        arms.alone(plan, problem(plan, 0), 0)


def test_batches_are_passes_over_the_samples():
    samples = Samples(np.arange(10, dtype=np.float32)[:, None], np.arange(10))
    batches = [y.tolist() for _, y in Batches(samples, 4, (0, 1)).steps(5)]
    assert list(map(len, batches)) == [4] * 5
    assert len({*batches[0], *batches[1]}) == 8  # no sample twice in a pass
    assert batches == [y.tolist() for _, y in Batches(samples, 4, (0, 1)).steps(5)]
    assert [len(y) for _, y in Batches(samples, 32, (0, 1)).epoch()] == [10]


def test_the_reference_is_fedavg_by_hand():
    """One weight w, loss (w x - y)^2 / 2 replaced by cross entropy of two classes: the mean of one step of each."""
    plan = replace(TINY, model="linear", optimizer="plain_sgd", rate=0.1, interval=1, steps=1)
    sites = problem(plan, 0)
    ends = []
    for rank, site in enumerate(sites.sites):
        model = build("linear", sites.shape, 2, seed=0)
        (x, y) = next(Batches(site.train, plan.batch, (0, rank)).steps(1))
        weight, bias = (value.detach().clone() for value in (model[1].weight, model[1].bias))
        error = torch.softmax(x @ weight.T + bias, dim=1) - nn.functional.one_hot(y, 2)
        ends.append((weight - 0.1 * error.T @ x / len(x), bias - 0.1 * error.mean(dim=0)))
    merged = arms.reference(plan, sites, 0).common.state_dict()
    assert torch.allclose(merged["1.weight"], (ends[0][0] + ends[1][0]) / 2, atol=1e-6)
    assert torch.allclose(merged["1.bias"], (ends[0][1] + ends[1][1]) / 2, atol=1e-6)


def test_the_mean_of_statistics_is_that_of_all_data():
    states = [
        {
            "w": torch.tensor([value]),
            "n.running_mean": torch.tensor([value]),
            "n.running_var": torch.tensor([2.0]),
            "n.num_batches_tracked": torch.tensor(count),
        }
        for value, count in ((-1.0, 3), (1.0, 5))
    ]
    assert arms.mean(states, [1, 1]) == {
        "w": torch.tensor([0.0]),
        "n.running_mean": torch.tensor([0.0]),
        "n.running_var": torch.tensor([3.0]),
        "n.num_batches_tracked": torch.tensor(5),
    }
    assert arms.mean(states, [3, 1])["w"] == -0.5


def test_accuracy_counts_classes_as_the_site_has_them():
    samples = Samples(np.array([[1, 0], [1, 0], [1, 0], [0, 1]], np.float32), np.array([0, 0, 1, 1]))
    model = nn.Identity()
    assert accuracy(model, samples) == 0.75
    assert accuracy(model, samples, np.array([1.0, 0.0])) == 1
    assert accuracy(model, samples, np.array([0.2, 0.8])) == pytest.approx(0.2 + 0.8 / 2)


def test_auc_counts_pairs():
    samples = Samples(np.array([[0, 1], [0, 2], [0, 2], [0, 3]], np.float32), np.array([0, 0, 1, 1]))
    assert auc(nn.Identity(), samples) == pytest.approx(3.5 / 4)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_the_shape_of_the_task_and_the_weights_of_the_seed(name):
    for shape in ((1, 8, 8), (1, 28, 28)):
        model = build(name, shape, 10, seed=3)
        assert distance(copied(model), copied(build(name, shape, 10, seed=3))) == 0
        assert distance(copied(model), copied(build(name, shape, 10, seed=4))) > 0
        assert model(torch.zeros(2, *shape)).shape == (2, 10)


@pytest.mark.parametrize(
    "plan",
    [
        TINY,  # the last step is after the last full interval
        replace(TINY, weights="equal", optimizer="adam", optimizer_state="keep", steps=4),
        Plan(task="digits", model="cnn_bn", partition="dir0.5", normalization="pooled", peers=3, interval=2, steps=4),
    ],
    ids=["rest", "adam", "cnn_bn"],
)
def test_the_swarm_has_the_weights_of_the_reference(plan):
    outcome = measure(plan, 0)
    assert outcome.reference_difference < 1e-6
    assert outcome.steps == [plan.equal_steps] * plan.peers
    assert outcome.rounds >= 2
    assert outcome.bytes > 0


def test_overlap_is_deterministic():
    plan = replace(TINY, overlap=True, interval=4, delay=0.5, steps=12)
    sites = problem(plan, 0)
    first, second = (copied(peers.swarm(plan, sites, 0)[0].common) for _ in range(2))
    assert distance(first, second) == 0
    assert distance(first, copied(peers.swarm(replace(plan, delay=1.0), sites, 0)[0].common)) > 0


@pytest.mark.parametrize(("delay", "loaded_after"), [(0.25, 1), (0.5, 2), (1.0, 4)])
def test_a_round_is_loaded_a_fixed_number_of_batches_after_its_start(delay, loaded_after):
    class Overlapping:
        """As a callback with an interval of 4 whose rounds end at once, and its session."""

        counted, due, done, begun = 0, 4, 0, None
        round_running = False
        session = property(lambda self: self)
        round_open = property(lambda self: self.begun is not None)

        def __init__(self):
            self.loaded = []

        def on_batch_end(self, loss, *, stepped):
            assert stepped
            self.done, self.counted = self.done + 1, self.counted + 1
            if self.counted < self.due:
                return
            self.counted = 0
            if self.begun is not None:
                self.loaded.append(self.done - self.begun)
                self.due, last, self.begun = 4 - self.loaded[-1], self.begun, None
                if self.done - last < 4:
                    return
            self.begun, self.due = self.done, 1

        def postpone(self, batches):
            self.due = self.counted + batches

    callback = Overlapping()
    hooks = Hooks(Plan(interval=4, overlap=True, delay=delay), callback)
    for number in range(20):
        hooks.batch_end(0.0)
        if number % 3 == 2 and callback.round_open:
            callback.due = callback.counted + 1  # as at the end of an epoch
    assert callback.loaded == [loaded_after] * 4


def test_a_site_trains_for_its_own_epochs():
    plan = replace(TINY, partition="quantity", sizes=(3, 1), steps=None, epochs=1, batch=32)
    outcome = measure(plan, 0)
    assert outcome.steps == [max(len(site.train) // 32, 1) for site in problem(plan, 0).sites]
    assert outcome.reference is outcome.reference_difference is None


def test_sites_of_unequal_pace_merge_together_what_each_has_trained():
    plan = replace(TINY, partition="quantity", sizes=(3, 1), paces=(2, 1), interval=4, steps=12)
    sites = problem(plan, 0)
    plain, normalized = (peers.swarm(each, sites, 0) for each in (plan, replace(plan, normalize_steps=True)))
    assert plain[0].steps == normalized[0].steps == [12, 6]
    assert {report.rounds for _, reports in (plain, normalized) for report in reports} == {1 + 3}
    assert distance(copied(plain[0].common), copied(normalized[0].common)) > 1e-4
    assert measure(plan, 0).reference is None


def test_normalized_steps_are_those_of_fednova_by_hand():
    """One merge of two and one batches from the same weights: x + T / 2 (P1 - x) / t1 + ..., T = 1.5."""
    plan = replace(TINY, partition="quantity", sizes=(3, 1), paces=(2, 1), interval=2, steps=2, normalize_steps=True)
    sites = problem(plan, 0)
    (trained, _), start = peers.swarm(plan, sites, 0), copied(build(plan.model, sites.shape, 2, 0))
    expected = dict(start)
    for rank, site in enumerate(sites.sites):
        trainee = Trainee.of(plan, site.train, 2, 0, rank)
        assert trainee.train() == (2, 1)[rank]
        expected = {
            name: value + 1.5 / 2 * (copied(trainee.model)[name] - start[name]) / (2, 1)[rank]
            for name, value in expected.items()
        }
    assert distance(copied(trained.common), expected) < 1e-6


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--paces 2,1,1", "one for each of the 2 peers"),
        ("--paces 3,1 --interval 4", "a part of a batch"),
        ("--paces 2,1 --interval 4 --epochs 2", "only with --steps"),
        ("--paces 2,1 --interval 4 --policy drift", "a fixed interval"),
    ],
)
def test_paces_that_cannot_be_are_refused(words, said):
    with pytest.raises(RuntimeError, match=said):
        LEARNING.record([*SMALL, *words.split(), "--seeds", "1"])


def test_a_cosine_schedule_ends_at_zero_in_every_arm_and_qsr_follows_it():
    plan = replace(TINY, schedule="cosine", steps=64, interval=2, policy="qsr")
    sites = problem(plan, 0)
    trainee = Trainee.of(plan, sites.sites[0].train, 2, 0, 0)
    rates = [trainee.optimizer.param_groups[0]["lr"]]
    for batch in trainee.batches.steps(64):
        trainee.step(batch)
        rates.append(trainee.optimizer.param_groups[0]["lr"])
    assert rates[0] == pytest.approx(2 * rates[32]) == 0.05
    assert rates[-1] == pytest.approx(0, abs=1e-9)
    (_, reports), (_, fixed) = (peers.swarm(each, sites, 0) for each in (plan, replace(plan, policy=None)))
    assert 3 < reports[0].rounds < fixed[0].rounds == 1 + 32


def test_only_settings_that_differ_from_the_old_behaviour_are_given():
    assert set(Plan().settings(5)) == {"sync_interval", "merge_method", "codec", "overlap"}
    given = replace(Plan(), finished="active", local="head.*", policy="fixed").settings(5)
    assert given["checkin_model_on_train_end"] == "active"
    assert (given["local"], given["sync_policy"]) == ("head.*", "fixed")


def test_a_setting_that_swarm_has_not_is_its_error():
    plan = replace(TINY, outer="no_such_optimizer")
    with pytest.raises(ConfigurationError):
        peers.swarm(plan, problem(plan, 0), 0)


def test_sites_of_unequal_length_end_with_the_same_weights_every_time():
    plan = replace(TINY, partition="quantity", sizes=(3, 1), steps=None, epochs=2, interval=3)
    sites = problem(plan, 0)
    first, second = (peers.swarm(plan, sites, 0)[0] for _ in range(2))
    assert first.steps[0] > first.steps[1]
    assert distance(copied(first.common), copied(second.common)) == 0


def test_a_head_that_stays_with_each_site_leaves_no_model_for_everyone():
    plan = replace(TINY, local="3.*")
    trained, _ = peers.swarm(plan, problem(plan, 0), 0)
    assert trained.common is None
    heads = [copied(model)["3.bias"] for model in trained.sites]
    assert not torch.equal(*heads)


def test_a_plan_survives_json():
    plan = replace(TINY, sizes=(9.0, 2.0), paces=(2, 1))
    assert Plan.read(json.loads(json.dumps(asdict(plan)))) == plan


def outcome(seed: int = 0, swarm: float = 0.9, own: tuple[float, ...] = (0.9, 0.8), **more) -> Outcome:
    fields = {
        "seed": seed, "label_distance": 0.5, "pooled": 1.0, "alone": 0.5, "reference": 0.9, "swarm": swarm,
        "own_alone": [0.8] * len(own), "own_swarm": list(own), "reference_difference": 1e-7, "rounds": 3, "bytes": 4,
        "seconds": 1.0, "steps": [5] * len(own), "warnings": [[] for _ in own],
    }  # fmt: skip
    return Outcome(**{**fields, **more})


def test_the_interval_is_that_of_students_t():
    mean, low, high = interval([1.0, 2.0, 3.0])
    assert mean == 2
    assert (high - mean, mean - low) == (pytest.approx(4.303 / 3**0.5, abs=1e-3),) * 2
    assert interval([1.0]) == (1.0, None, None)


def test_differences_are_taken_seed_by_seed():
    before, after = ([outcome(swarm=value) for value in values] for values in ((0.5, 0.9), (0.49, 0.89)))
    assert paired(before, after) == (pytest.approx(0.01), pytest.approx(0.01), pytest.approx(0.01))


def test_the_record_has_means_and_the_worst_site():
    record = summary(TINY, [outcome(own=(0.9, 0.7)), outcome(1, 0.8, (0.9, 0.78), warnings=[["a"], ["b"]])])
    assert (record["ratio"], record["swarm"], record["own_swarm"]) == (0.85, 0.85, [0.9, 0.74])
    assert (record["own_worst"], record["own_worst_of_a_seed"]) == (-0.06, -0.1)
    assert record["warnings"] == ["a", "b"]
    assert record["ratio_low"] < 0.85 < record["ratio_high"]
    json.dumps(record)


def judged(name: str, *outcomes: Outcome) -> bool:
    gate = GATES[name]
    results = {
        variant: Result(outcomes, summary(replace(plan, peers=2), outcomes)) for variant, plan in gate.variants.items()
    }
    return gate.judge(results).met


def test_gates_are_met_or_missed():
    assert judged("digits-dir0.5", outcome(swarm=0.995))
    assert not judged("digits-dir0.5", outcome(swarm=0.985))
    assert not judged("digits-dir0.5", outcome(swarm=1.1), outcome(swarm=0.9))  # the interval is too wide
    assert judged("heart-natural", outcome(swarm=0.99))
    assert not judged("heart-natural", outcome(swarm=0.99, alone=0.96))
    assert judged("mnist-feature", outcome(own=(0.79, 0.9)))
    assert not judged("mnist-feature", outcome(own=(0.78, 0.9)))
    assert judged("warned", outcome(own=(0.9, 0.7), warnings=[[], ["the sites differ"]]))
    assert not judged("warned", outcome(own=(0.9, 0.7)))
    assert judged("reference", outcome())
    assert not judged("reference", outcome(reference_difference=1e-3))
    assert not judged("reference", outcome(reference_difference=None))
    assert judged("int8-digits", outcome(), outcome(1))


def test_the_command_prints_one_line_of_json_with_every_figure():
    more = ["--steps", "4", "--interval", "2", "--seeds", "2", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.learning", *SMALL, *more],
        cwd=ROOT, capture_output=True, text=True, timeout=110, check=True,
    )  # fmt: skip
    record = json.loads(done.stdout.splitlines()[-1])
    expected = {"ratio", "ratio_low", "ratio_high", "alone", "pooled", "swarm", "own_alone", "own_swarm", "own_worst"}
    assert record.keys() >= expected | {"reference_difference", "rounds", "bytes", "seconds", "steps", "warnings"}
    assert record["seeds"] == [100, 101]
    assert record["steps"] == [4, 4]
    assert record["reference_difference"] < 1e-6
    assert "ratio" in LEARNING.table(record)


def test_real_processes_have_the_same_weights():
    figures = measure(replace(TINY, steps=4), 0, with_processes=True).processes
    assert figures["difference"] < 1e-6


@pytest.mark.parametrize("words", [["--partition", "dir"], ["--delay", "2"], ["--skew", "natural"], ["--gate", "no"]])
def test_options_are_checked(words):
    with pytest.raises(SystemExit):
        LEARNING.main(words)


def test_a_setting_that_swarm_has_not_is_not_measured(capsys):
    with pytest.raises(SystemExit, match="not measured: .*no_such_rule"):
        LEARNING.main([*SMALL, "--steps", "2", "--seeds", "1", "--rule", "no_such_rule"])


def test_trainees_of_a_site_begin_with_the_same_weights():
    sites = problem(TINY, 0)
    models = [Trainee.of(TINY, site.train, 2, 0, rank).model for rank, site in enumerate(sites.sites)]
    assert distance(copied(models[0]), copied(models[1])) == 0
