"""Notes on patients of four hospitals, classified by a language model of which only LoRA adapters are trained.

Four hospitals here:   swarm up -n 4 --data-dir data --model-dir model -- python transformers_notes.py
One hospital, alone:   DATA_DIR=data MODEL_DIR=model SWARM_LOOPBACK=true python transformers_notes.py
"""

from __future__ import annotations

import numpy as np
import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from site_files import RANK, Curve, in_turn, load, model_dir, parser, report
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments

from swarm_transformers import SwarmTrainerCallback

MEASURED = ("age", "blood pressure", "cholesterol", "heart rate", "ST depression", "narrowed vessels")
FOUND = ("male", "fasting blood sugar", "angina by exercise", "typical angina", "atypical angina", "other pain")
FOUND += ("no pain", "hypertrophy", "ST-T abnormality", "upsloping", "flat", "downsloping", "thal normal")
FOUND += ("thal fixed", "thal reversible", "cholesterol missing", "vessels missing")
LEVELS = ("low", "normal", "high")
VOCABULARY = ["[PAD]", *(f"{name} {level}" for name in MEASURED for level in LEVELS), *FOUND]
LENGTH = len(MEASURED) + len(FOUND)


def note(patient: np.ndarray) -> list[str]:
    """What a doctor might write about a patient, whose measurements are standardised."""
    levels = np.digitize(patient[: len(MEASURED)], [-0.5, 0.5])
    words = [f"{name} {LEVELS[level]}" for name, level in zip(MEASURED, levels, strict=True)]
    return words + [name for name, found in zip(FOUND, patient[len(MEASURED) :], strict=True) if found]


def samples(patients: np.ndarray, ill: np.ndarray) -> list[dict[str, object]]:
    """Tokens and label of each note."""
    rows = [[VOCABULARY.index(word) for word in note(patient)] for patient in patients]
    tokens = [row + [0] * (LENGTH - len(row)) for row in rows]
    masks = [[int(token > 0) for token in row] for row in tokens]
    names = ("input_ids", "attention_mask", "labels")
    return [dict(zip(names, each, strict=True)) for each in zip(tokens, masks, ill.tolist(), strict=True)]


def base() -> BertForSequenceClassification:
    """A tiny model that is the same at each hospital; yours is ``from_pretrained``."""
    torch.manual_seed(0)
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    return BertForSequenceClassification(BertConfig(vocab_size=len(VOCABULARY), max_position_embeddings=LENGTH, **size))


def main() -> None:
    """Train on this hospital's notes."""
    options = parser(__doc__, epochs=5, steps=40, sync_interval=8).parse_args()
    patients, ill = load("train")
    test = samples(*load("test"))
    inputs = {name: torch.tensor([each[name] for each in test]) for name in ("input_ids", "attention_mask")}
    seed = 1000 * options.seed + RANK
    rows = in_turn(len(ill), options.epochs * options.steps * options.batch_size, seed)
    model = get_peft_model(base(), LoraConfig("SEQ_CLS", r=8, lora_alpha=16, target_modules="all-linear"))

    def accuracy() -> float:
        with torch.inference_mode():
            found = model.eval()(**inputs).logits.argmax(dim=1).tolist()
        model.train()
        return float(np.mean([each["labels"] == label for each, label in zip(test, found, strict=True)]))

    curve, after = Curve(options.sync_interval, accuracy), TrainerCallback()
    after.on_step_end = curve.step
    swarm = SwarmTrainerCallback(sync_interval=options.sync_interval)
    quiet = {"save_strategy": "no", "logging_strategy": "no", "report_to": [], "disable_tqdm": True, "use_cpu": True}
    sizes = {"num_train_epochs": 1, "per_device_train_batch_size": options.batch_size}
    args = TrainingArguments(model_dir(), learning_rate=3e-3, seed=seed, **sizes, **quiet)
    Trainer(model, args, train_dataset=samples(patients[rows], ill[rows]), callbacks=[swarm, after]).train()
    report(curve, (tensor.numpy() for tensor in get_peft_model_state_dict(model).values()), swarm.metrics)


if __name__ == "__main__":
    main()
