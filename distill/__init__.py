"""How the bundled restorer is made: degradations, data, losses and the training run."""
