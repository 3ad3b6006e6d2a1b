"""The evaluation of a merged model by all processes of a site, each on its own part of the validation data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from swarm.ranks.together import all_do
from swarm.tensors.model import Evaluation

if TYPE_CHECKING:
    from swarm.ranks.group import ProcessGroup
    from swarm.tensors.model import Evaluator


def evaluate_together(group: ProcessGroup, evaluate: Evaluator | None) -> Evaluation | None:
    """The mean of what the processes find, weighted by their samples; each of them calls this, and rank 0 gets it.

    A process that has no validation data counts nothing.

    Raises:
        RuntimeError: in rank 0, once all are done: it failed in a process, whose rank and error the text has.
        RanksError: a process is gone.
    """

    def found() -> dict[str, Any]:
        if evaluate is None:
            return {}
        here = evaluate()
        return {"loss": here.loss, "metrics": here.metrics, "samples": here.samples}

    everywhere = all_do(group, found)
    return None if group.rank else _mean([Evaluation(**each) for each in everywhere if each])


def _mean(parts: list[Evaluation]) -> Evaluation:
    if len(parts) < 2:
        return parts[0] if parts else Evaluation(float("nan"), samples=0)
    samples = sum(each.samples for each in parts)
    common = set.intersection(*(set(each.metrics) for each in parts))

    def mean(values: list[float]) -> float:
        if len(set(values)) == 1:
            return values[0]  # each process has all the data
        return sum(each.samples * value for each, value in zip(parts, values, strict=True)) / max(samples, 1)

    metrics = {name: mean([each.metrics[name] for each in parts]) for name in sorted(common)}
    return Evaluation(mean([each.loss for each in parts]), metrics, samples)
