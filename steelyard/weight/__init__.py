"""What the model may decide: the weight, its phases, its limits and the journal of every change."""
