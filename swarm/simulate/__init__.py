"""``swarm simulate``: a training with many peers on this machine, to choose settings before sites are asked to run.

``choices`` are the settings to try; ``plan`` is what one *host*, a process with all peers of one swarm, is told;
``host`` is that process. The peers of a built-in task are threads of it (``threads``), those of a script are processes
that it forks (``forked``). ``local`` runs hosts on this machine, ``cluster`` on a Ray cluster. ``outcome`` is what came
of each choice, and ``report`` shows it and recommends one.
"""
