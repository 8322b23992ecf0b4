"""Training: where batches come from, what a step does, what is recorded, and the loop that joins them."""
