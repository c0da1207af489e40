"""What several tests use: benches, tiles, model writers, the data beside the checkout."""
