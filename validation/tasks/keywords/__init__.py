"""Spoken digits as spikes: 20 words, 700 channels, in the manner of the Spiking Heidelberg Digits."""
