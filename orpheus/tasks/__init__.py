"""One module per task: which targets, which head, which loss, which metric decides."""
