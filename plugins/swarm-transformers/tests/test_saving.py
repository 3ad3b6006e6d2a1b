"""The result as a directory of Transformers: written at the end of a run, and by ``swarm export``."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from transformers import BertForSequenceClassification
from typer.testing import CliRunner

from swarm.cli.app import app

SCRIPT = """
import torch
from peft import LoraConfig, get_peft_model
from transformers import BertConfig, BertForSequenceClassification

def make_model():
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=6, num_labels=2,
    )
    return BertForSequenceClassification(config)

def with_adapters():
    return get_peft_model(make_model(), LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query"]))
"""
LORA = LoraConfig(task_type=TaskType.SEQ_CLS, r=2, target_modules=["query"])


@pytest.fixture
def train(hospitals, two_parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "make_it.py").write_text(SCRIPT)

    def train(model, **settings):
        callback = hospitals.callback("ada", world_size=1, min_peers=1, model_dir=tmp_path / "out", **settings)
        hospitals.trainer(model, [callback], two_parts[0]).train()
        return model.eval()

    return train


def outputs(model):
    with torch.no_grad():
        return model.eval()(input_ids=torch.arange(12).reshape(2, 6)).logits


def test_a_whole_model_is_read_by_from_pretrained(train, bert, tmp_path):
    model = train(bert(seed=0))
    again = BertForSequenceClassification.from_pretrained(tmp_path / "out" / "swarm-final")
    assert torch.equal(outputs(again), outputs(model))
    train(model)
    assert (tmp_path / "out" / "previous-swarm-final" / "config.json").is_file()
    train(model)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"swarm-final", "previous-swarm-final", "swarm-final.safetensors"} <= names
    assert not [name for name in names if name.startswith(".")]


@pytest.mark.filterwarnings("ignore")
def test_adapters_are_read_on_top_of_their_base(train, bert, tmp_path):
    model = train(get_peft_model(bert(seed=0), LORA))
    assert not (tmp_path / "out" / "swarm-final" / "model.safetensors").exists()
    again = PeftModel.from_pretrained(bert(seed=0), tmp_path / "out" / "swarm-final")
    assert torch.equal(outputs(again), outputs(model))


def test_it_is_left_out_on_request(train, bert, tmp_path):
    train(bert(seed=0), framework_result=False)
    assert not (tmp_path / "out" / "swarm-final").exists()
    assert (tmp_path / "out" / "swarm-final.safetensors").is_file()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("maker", ["make_model", "with_adapters"])
def test_a_directory_is_exported(train, bert, maker):
    model = bert(seed=0)
    if maker == "with_adapters":
        model = get_peft_model(model, LORA)
    train(model, framework_result=False)
    result = CliRunner().invoke(app, ["export", "out", "written", "--model", f"make_it.py:{maker}"])
    assert result.exit_code == 0, result.output
    if maker == "with_adapters":
        again = PeftModel.from_pretrained(bert(seed=0), "written")
    else:
        again = BertForSequenceClassification.from_pretrained("written")
    assert torch.equal(outputs(again), outputs(model))


def test_a_directory_needs_a_model_of_transformers(train, bert, tmp_path):
    train(bert(seed=0))
    (tmp_path / "plain.py").write_text("import torch\n\nplain = torch.nn.Linear(1, 1)\n")
    for options, message in (([], "needs the model"), (["--model", "plain.py:plain"], "has no save_pretrained")):
        result = CliRunner().invoke(app, ["export", "out", "written", *options])
        assert result.exit_code == 2
        assert message in result.output
