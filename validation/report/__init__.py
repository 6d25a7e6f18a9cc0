"""A comparison in three faces, made from one document: in the terminal, as an HTML page and as a JSON file.

The page needs nothing but itself, and a browser that shows it is told to load nothing.

The JSON file has these keys; lengths of time are seconds, gradients are in 1 / (unit of the weights), and
null stands for a number that is not finite:

``format``, ``version``
    "eventsolve-validation-report" and 1.
``complete``
    False if the campaign was interrupted: ``runs`` then holds those that were finished.
``provenance``
    Versions, platform, time, command and settings.
``headline``
    The verdict and the other sentences that the terminal prints and the page begins with.
``runs[]``
    ``title``, ``settings``, ``seconds``, ``summary``, ``findings`` (by stage, where it parts and what that looks like),
    ``counters``, ``tolerance``; ``samples`` and
    ``differing_samples``, the numbers of those in which a spike that a gradient depends on is missed or extra.
``runs[].spikes[]``
    Per population: ``exact``, ``model``, ``matched``, ``missed``, ``extra`` (counts), ``window``,
    ``mean_shift``, ``max_shift``, the latter two also in ``..._steps``.
``runs[].loss``, ``runs[].spike_times[]``, ``runs[].weights[]``
    Agreements: ``count``, ``relative_error``, ``cosine``, ``sign_agreement``, ``both_nonzero``,
    ``largest_error``. A list entry has them for ``everything`` and for samples whose spikes are
    ``matching`` or ``differing``; weights also for the batch ``mean`` and ``per_sample``, with the
    ``worst`` synapses and every synapse's ``exact`` and ``model`` gradient, batch mean, (n_post, n_pre); of a sparse
    projection one number for each of ``synapses``, which are null of a dense one.
``runs[].order``
    ``summary``; ``radius`` of each sample: how many times the model's resolution its numbers may be off before the
    order of events changes, to first order; ``limits``, what changes first; the numbers of the samples
    ``within``, with ``other_spikes``, and with other spikes that stay ``unexplained``. null where it was not asked.
``runs[].not_given``
    What only one of the two has, and which of them does not give it.
``runs[].stages[]``
    ``where``, ``error``, ``error_where_spikes_match`` (null if every sample differs), ``tolerance``,
    ``agrees``, in the order of the computation; ``first_difference`` and ``first_backward_difference`` of a
    run name the first that does not agree, over all samples and over those whose spikes match.
"""

from validation.report.comparison import document_of, headline
from validation.report.document import provenance
from validation.report.faces import publish, to_html, to_json, to_terminal, write
from validation.report.runs import Excerpt, Run, Setting
from validation.report.words import number, percent, summary

__all__ = [
    "Excerpt",
    "Run",
    "Setting",
    "document_of",
    "headline",
    "number",
    "percent",
    "provenance",
    "publish",
    "summary",
    "to_html",
    "to_json",
    "to_terminal",
    "write",
]
