"""A ``Trainer`` of Transformers, of a whole model or of adapters alone."""

from __future__ import annotations

import argparse
import os
import tempfile

import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

from benchmarks.matrix.programs.told import end, tell_model
from swarm_transformers import SwarmTrainerCallback

SAMPLES, BATCH, LENGTH, WORDS = 256, 16, 8, 32


def main() -> None:
    """Train, and tell the weights that this process ends with: those of the adapters, if there are any."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--adapters", action="store_true")
    parser.add_argument("--epochs", type=int, default=2)
    options = parser.parse_args()
    torch.manual_seed(0 if options.adapters else sum(os.environ["SWARM_NAME"].encode()))  # one base for all adapters
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = BertForSequenceClassification(BertConfig(vocab_size=WORDS, num_labels=2, **sizes))
    if options.adapters:
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"]))
    words = torch.randint(0, WORDS, (SAMPLES, LENGTH))
    data = [{"input_ids": each, "labels": int(each[0] > WORDS // 2)} for each in words]
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    with tempfile.TemporaryDirectory() as directory:
        arguments = TrainingArguments(
            directory,
            use_cpu=True,
            num_train_epochs=options.epochs,
            per_device_train_batch_size=BATCH // processes,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        swarm = SwarmTrainerCallback()
        Trainer(model=model, args=arguments, train_dataset=data, callbacks=[swarm]).train()
    weights = {name: each for name, each in model.state_dict().items() if not options.adapters or "lora" in name}
    tell_model((each.numpy() for each in weights.values()), swarm.metrics)


if __name__ == "__main__":
    main()
    end()
