"""Training on three engines with one interface: the exact solver, the chip model, and its float twin.

Files, each importing only from those before it: ``recipes`` (what is trained, on what, how), ``engines`` (what all
three offer), ``exact_engine``, ``chip_engine``, ``optimizer``, ``silence`` (of which the exact gradient says nothing),
``trainer``, ``checkpoint``, ``pictures``, ``report``, ``commands``.
"""
