"""The recipe of docs/resume.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from transformers import TrainerCallback

PAGE = Path(__file__).parents[3] / "docs" / "resume.md"
STEPS = 3 * 8


class PowerCutError(Exception):
    pass


class Seen(TrainerCallback):
    """Notes the steps that begin, with schedule and optimizer, and ends the training before one of them."""

    def __init__(self, stop) -> None:
        self.stop, self.steps, self.rates, self.optimizer = stop, [], [], None

    def on_step_begin(self, args, state, control, *, optimizer, lr_scheduler, **others) -> None:
        if state.global_step == self.stop:
            raise PowerCutError
        if self.optimizer is None:
            self.optimizer = {int(each["step"]) for each in optimizer.state.values()}
        self.steps.append(state.global_step)
        self.rates.append(lr_scheduler.get_last_lr()[0])


@pytest.mark.filterwarnings("ignore")
def test_a_stopped_training_goes_on_where_the_checkpoint_is(tmp_path, monkeypatch) -> None:
    section = re.search(r"^## Transformers\n(.*?)^## ", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (block,) = re.findall(r"^```python\n(.*?)^```", section[1], re.MULTILINE | re.DOTALL)
    program, last_line = block.rstrip().rsplit("\n", 1)
    settings = {
        "rendezvous": tmp_path / "rendezvous", "min_peers": 1, "world_size": 1, "name": "ada", "model_dir": "out",
        "checkpoint_seconds": 0, "failure_timeout": 1.0, "resume": "true",
    }  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setenv(f"SWARM_{name.upper()}", str(value))

    def run(place, stop=None):
        (tmp_path / place).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / place)
        torch.manual_seed(0)
        names = {"torch": torch}
        exec(program, names)
        seen, trainer = Seen(stop), names["hf_trainer"]
        trainer.add_callback(seen)
        try:
            exec(last_line, names)
        except PowerCutError:
            return seen, None
        (swarm,) = [each for each in trainer.callback_handler.callbacks if hasattr(each, "resumed")]
        return seen, swarm.metrics["swarm_rounds"]

    whole, _ = run("whole")
    assert whole.steps == [*range(STEPS)]
    stopped, _ = run("stopped", stop=19)
    assert stopped.steps == [*range(19)]
    again, rounds = run("stopped")
    assert again.steps == [*range(15, STEPS)]
    assert again.optimizer == {15}
    assert stopped.rates[:15] + again.rates == whole.rates
    assert rounds >= 1
