"""What a swarm gains over training alone, and what it loses against pooled data: ``python -m benchmarks.learning``.

``data`` and ``transforms`` make the data of the sites from a seed, which ``swarm.demo.partitions`` divides;
``models`` has models and optimizers; ``plan`` is what is measured, for all arms; ``training`` has the loop of all arms;
``arms`` trains alone, on pooled data, and by the reference FedAvg; ``peers`` trains in a swarm in this process,
``processes`` in one of real processes; ``outcome`` and ``figures`` compute what is printed; ``gates`` has the goals.
"""
