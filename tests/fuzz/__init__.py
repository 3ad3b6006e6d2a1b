"""Fuzzing: seeded changes of real inputs, given to everything that decodes what others or files control.

A *target* is a decoder as a function of bytes (``targets/``). The errors that it documents are its *refusals*; any
other exception is a crash. More than a second for one input is a hang, and more than 64 MiB of memory for one is
*oversized*. The corpus (``corpus/<target>/``) holds real inputs, and every input with which a target once failed, under
a name that begins with ``found-``.

To add a target, add one ``Target`` to the list of a module in ``targets/`` (a new module is listed in
``targets/__init__.py``): its name, its function, its refusals, real inputs, and the form of its inputs, which says how
they are changed. Then run ``python -m tests.fuzz.inputs``, which writes the real inputs to the corpus, and commit
them. The function should also assert what holds for whatever the decoder accepts.

``make test`` gives each target its corpus and some hundred changes, always the same ones. ``make fuzz`` runs for ten
minutes on all cores, and also fuzzes a whole peer (``server/``) over real connections. What it finds is written to a
directory: copy the file to the corpus as ``found-<what>``, and fix the decoder.
"""
