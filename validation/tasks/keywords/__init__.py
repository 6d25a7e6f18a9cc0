"""Spoken digits: 20 words in English and German as spikes of 700 channels, in the manner of the Spiking Heidelberg Digits."""
