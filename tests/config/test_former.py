from __future__ import annotations

import warnings

import pytest

from swarm.callback import parse_arguments
from swarm.config.hpe import SPELLINGS
from swarm.errors import UnknownArgumentError

HPE_SCRIPT = {
    "syncFrequency": 64,
    "minPeers": 3,
    "trainingContract": "defaultbb.cqdb.sml.hpe",
    "useAdaptiveSync": True,
    "adsValData": ("x", "y"),
    "adsValBatchSize": 8,
    "checkinModelOnTrainEnd": "active",
    "nodeWeightage": 5,
    "mlPlatform": "pytorch",
    "mergeMethod": "COORDMEDIAN",
    "totalEpochs": 2,
    "lossFunction": "NLLLoss",
    "lossFunctionArgs": {"reduction": "sum"},
    "metricFunction": "Accuracy",
    "metricFunctionArgs": {"task": "multiclass"},
}


def test_an_hpe_script_keeps_its_meaning() -> None:
    with pytest.warns(DeprecationWarning, match="HPE's spelling"):
        arguments = parse_arguments(HPE_SCRIPT)
    settings = arguments.settings
    assert (settings.sync_interval, settings.min_peers, settings.model_name) == (64, 3, "defaultbb.cqdb.sml.hpe")
    assert settings.use_adaptive_sync
    assert (settings.val_batch_size, settings.checkin_model_on_train_end, settings.node_weightage) == (8, "active", 5)
    assert (settings.ml_platform, settings.merge_method, settings.total_epochs) == ("PYTORCH", "coordmedian", 2)
    assert arguments.val_data == ("x", "y")
    assert (arguments.loss_function, arguments.loss_function_args) == ("NLLLoss", {"reduction": "sum"})
    assert (arguments.metric_function, arguments.metric_function_args) == ("Accuracy", {"task": "multiclass"})


@pytest.mark.parametrize(("theirs", "ours"), sorted(SPELLINGS.items()))
def test_each_spelling_is_warned_of_at_the_users_line(theirs: str, ours: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"'{theirs}' .* write '{ours}'") as caught:
        parse_arguments({theirs: None})
    assert caught[0].filename == __file__


def test_our_spellings_are_not_warned_of() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert parse_arguments({"sync_interval": 3}).settings.sync_interval == 3


@pytest.mark.parametrize(
    "arguments",
    [
        {"syncFrequency": 1, "sync_interval": 1},
        {"valData": 1, "adsValData": 1},
        {"modelName": 1, "trainingContract": 1},
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_one_argument_under_two_names_is_refused(arguments: dict[str, object]) -> None:
    first, second = arguments
    with pytest.raises(UnknownArgumentError, match=f"'{first}' and '{second}' are the same argument"):
        parse_arguments(arguments)
