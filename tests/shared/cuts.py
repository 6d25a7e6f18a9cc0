"""Problems solved in pieces, each going on where the one before it ended."""

import eventsolve as es


def between(trains, after, until):
    """Return the spikes in (after, until], after None: from the start."""
    late = trains.times > (-1.0 if after is None else after)
    here = late & (trains.times <= until)
    return es.SpikeTrains(
        trains.times[here], trains.neurons[here], trains.samples[here], trains.n_samples, trains.n_neurons
    )


def solved_in_pieces(net, inputs, ends, **options):
    """Return the solutions up to each of the ends in turn."""
    pieces, state, last = [], None, None
    for end in ends:
        given = {name: between(trains, last, end) for name, trains in inputs.items()}
        pieces.append(es.solve(net, given, end, initial=state, **options))
        state, last = pieces[-1].final_state, end
    return pieces
