"""The commands of ``eventsolve-validate``, one in a file."""
