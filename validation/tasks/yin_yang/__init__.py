"""Yin-Yang: the task, and its published trainings on four engines (exact, the chip model, its float twin, and GeNN).

Any other network is trained by :mod:`validation.training`.

Files, each importing only from those before it: ``task``, ``recipe`` (what is trained, on what, how), ``engines`` (what
all four offer), ``exact_engine``, ``chip_engine``, ``genn_engine``, ``choices`` (recipes and engines by name),
``optimizer``, ``silence`` (what is done about silent neurons), ``trainer``, ``checkpoint``, ``campaign`` (trainings as
jobs), ``search``, ``pictures``, ``report``, ``commands``.
"""
