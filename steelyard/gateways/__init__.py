"""One file per outside system; each tells "absent" from "unreachable"."""
