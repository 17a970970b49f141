"""One file per outside system; each speaks our nouns and says absent and unreachable differently."""
