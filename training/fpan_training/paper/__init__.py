"""The paper's claims, each by one command: the pipeline of figure 2, routing, the ablation, the figures."""
