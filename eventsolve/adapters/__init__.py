"""The exact solver and its exact gradient as a part of other frameworks' programs; each module needs its own extra."""
