"""Commands about BrainScaleS-2."""
