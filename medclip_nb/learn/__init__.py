"""The learning room: target matrices, losses, the training loop and its checkpoints."""
