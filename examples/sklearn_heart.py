"""Heart disease in four hospitals with scikit-learn: a linear model, a small network, or naive Bayes.

Four hospitals here:   swarm up -n 4 --data-dir data --model-dir model -- python sklearn_heart.py --model bayes
One hospital, alone:   DATA_DIR=data MODEL_DIR=model SWARM_LOOPBACK=true python sklearn_heart.py --model bayes
"""

from __future__ import annotations

import numpy as np
from site_files import RANK, Curve, in_turn, load, parser, report
from sklearn.linear_model import SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier

from swarm_sklearn import SwarmTrainer

MODELS = {
    "linear": (SGDClassifier(loss="log_loss", learning_rate="constant", eta0=0.01), ("coef_", "intercept_")),
    "network": (MLPClassifier((16,), learning_rate_init=0.003, alpha=0.1), ("coefs_", "intercepts_")),
    "bayes": (GaussianNB(var_smoothing=0.1), ("theta_", "var_", "class_prior_")),
}
"""Each with the attributes that its predictions follow from."""


def main() -> None:
    """Train on this hospital's patients."""
    arguments = parser(__doc__, epochs=5, steps=40, sync_interval=4)
    arguments.add_argument("--model", choices=list(MODELS), default="linear", help="what to train")
    options = arguments.parse_args()
    x, ill = load("train")
    test_x, test_ill = load("test")
    estimator, attributes = MODELS[options.model]
    seed = 1000 * options.seed + RANK
    if "random_state" in estimator.get_params():
        estimator.set_params(random_state=seed)

    # Naive Bayes counts each patient once. The others train on as many batches at a small hospital as at a large one.
    once = options.model == "bayes"
    rows = np.arange(len(ill)) if once else in_turn(len(ill), options.steps * options.batch_size, seed)
    epochs = 1 if once else options.epochs
    curve = Curve(options.sync_interval, lambda: float(estimator.score(test_x, test_ill)))

    trainer = SwarmTrainer(estimator, sync_interval=options.sync_interval)
    trainer.fit(x[rows], ill[rows], epochs=epochs, batch_size=options.batch_size, classes=[0, 1], seed=seed)

    curve.steps = epochs * -(-len(rows) // options.batch_size)
    learnt = [getattr(estimator, name) for name in attributes]
    weights = [array for each in learnt for array in (each if isinstance(each, list) else [each])]
    report(curve, weights, trainer.callback.metrics)


if __name__ == "__main__":
    main()
