"""The verbs of the command line: flags in, calls of the backend, prints out."""
