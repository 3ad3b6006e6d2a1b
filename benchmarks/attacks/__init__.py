"""What bad sites can do to the model under each merge rule: ``python -m benchmarks.attacks``.

``kinds`` is what bad sites send; ``networks`` trains all sites at once; ``training`` trains and merges; ``__main__``
has the options and the figures. Data, models and batches are those of ``benchmarks.learning``.
"""
