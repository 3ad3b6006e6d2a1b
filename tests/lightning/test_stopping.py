"""With ``patience``: the Trainer stops when the swarm has agreed that its models get no better."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(("options", "steps"), [({}, 6), ({"min_epochs": 1}, 8)])
def test_the_trainer_stops_with_the_round_in_which_the_swarm_ends_the_training(
    make_callback, make_trainer, module, recording_session, monkeypatch, options, steps
) -> None:
    begin = recording_session.begin

    def begins(session) -> None:
        session.stops_after = 2
        begin(session)

    monkeypatch.setattr(recording_session, "begin", begins)
    callback = make_callback()
    trainer = make_trainer([callback], max_epochs=5, **options)
    trainer.fit(module)
    (session,) = recording_session.opened
    assert trainer.global_step == steps  # a round every three batches; eight are an epoch
    assert callback.should_stop
    assert [call[0] for call in session.calls if call[0] == "end"] == ["end"]
