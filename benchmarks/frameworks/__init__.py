"""Laminar against PyTorch by hand, Lightning, skorch and Keras 3 on its three backends: `make bench`."""
