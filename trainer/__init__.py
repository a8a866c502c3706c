"""The large-minibatch ResNet-50 trainer."""
