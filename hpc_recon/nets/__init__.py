"""Layer 1: networks, their weights, and the activations of their layers. The home of torch and torchvision."""
