"""What the tests are built from, one module per subject."""
