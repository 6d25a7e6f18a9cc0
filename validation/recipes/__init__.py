"""Published trainings of Yin-Yang, on three engines: the exact solver, the chip model, and its float twin.

Any other network is trained by :mod:`validation.training`.

Files, each importing only from those before it: ``recipe`` (what is trained, on what, how), ``engines`` (what all
three offer), ``exact_engine``, ``chip_engine``, ``choices`` (recipes and engines by name), ``optimizer``, ``silence``
(what is done about silent neurons), ``trainer``, ``checkpoint``, ``campaign`` (trainings as jobs), ``search``,
``pictures``, ``report``, ``table`` (of ``docs/training.md``), ``commands``.
"""
