"""How far an answer may be trusted: how near a solution is to another order of events, and what roundings leave.

:mod:`margins` has the distances from gaining, losing or reordering an event, :mod:`ties` the orders that float64 cannot
tell, :mod:`one_sided` and :mod:`sides` those at which a gradient has two sides. :mod:`estimates` and :mod:`trust` say
how far numbers may move before the order of events changes, to first order and proven; :mod:`spread` what moving them
does to spikes. :mod:`condition` says how many digits of a derivative float64 can know.
"""
