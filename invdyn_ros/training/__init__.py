"""Training of models on datasets: one trainer, one entry point per kind of model."""
