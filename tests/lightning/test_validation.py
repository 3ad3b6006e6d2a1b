"""Validation of the merged model under Lightning."""

from __future__ import annotations

import pytest
import torch

from swarm.errors import ConfigurationError


@pytest.mark.parametrize("precision", ["32-true", "64-true", "bf16-mixed"])
def test_validation_runs_in_the_precision_of_the_trainer(
    make_callback, make_trainer, module, recording_session, monkeypatch, precision
):
    losses = []
    monkeypatch.setattr(recording_session, "epoch_end", lambda self, epoch: losses.append(self.evaluate().loss))
    callback = make_callback(val_data=module.data, loss_function="MSELoss")
    make_trainer([callback], precision=precision).fit(module)
    with torch.no_grad():
        x, y = (tensor.to(module.dtype) for tensor in module.data.tensors)
        assert losses == [pytest.approx(torch.nn.functional.mse_loss(module(x), y).item(), rel=0.02)]


def test_validation_without_a_loss_function_is_skipped_in_one_line(make_callback, make_trainer, module, caplog):
    make_trainer([make_callback(val_data=module.data)]).fit(module)
    assert sum("pass loss_function=" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize("normalization", ["silobn", "fedbn", "pooled"])
def test_a_site_that_keeps_its_statistics_estimates_them_for_the_merged_weights(
    make_callback, make_trainer, module, recording_session, monkeypatch, normalization
):
    norm = torch.nn.BatchNorm1d(1)
    module.layer = torch.nn.Sequential(module.layer, norm)
    # As at the begin of training, and after a merge.
    monkeypatch.setattr(recording_session, "epoch_end", lambda self, epoch: (self.evaluate(), self.evaluate()))
    callback = make_callback(
        val_data=module.data, loss_function="MSELoss", normalization=normalization, val_batch_size=8
    )
    make_trainer([callback]).fit(module)
    x, _ = module.data.tensors
    with torch.no_grad():
        expected = module.layer[0](x).mean(0)
    assert torch.allclose(norm.running_mean, expected, atol=1e-5) == (normalization != "pooled")
    assert norm.training


@pytest.mark.parametrize("samples", [0, 3])
def test_validation_data_without_a_sample_is_refused_at_start(
    make_callback, make_trainer, module, recording_session, samples
):
    data = torch.utils.data.TensorDataset(torch.zeros(samples, 4), torch.zeros(samples, 1))
    loader = torch.utils.data.DataLoader(data, batch_size=4, drop_last=True)
    callback = make_callback(val_data=loader, loss_function="MSELoss", use_adaptive_sync=True)
    with pytest.raises(ConfigurationError, match="val_data, a DataLoader, holds no samples"):
        make_trainer([callback]).fit(module)
    assert not recording_session.opened


def test_the_session_knows_the_learning_rate_and_whether_a_schedule_changes_it(
    make_callback, make_trainer, module, recording_session, monkeypatch
):
    def optimizers():
        optimizer = torch.optim.SGD(module.parameters(), lr=0.25)
        return [optimizer], [torch.optim.lr_scheduler.ConstantLR(optimizer, factor=0.5)]

    monkeypatch.setattr(module, "configure_optimizers", optimizers)
    make_trainer([make_callback()]).fit(module)
    (session,) = recording_session.opened
    assert session.learning_rate.now() == 0.125
    assert session.learning_rate.decays
