"""Training of models on datasets: one trainer and one entry point per kind of model."""
