"""Diagnosis: a verdict that a bring-up engineer can act on."""

from validation.diagnosis.diagnosis import Diagnosis as Diagnosis
from validation.diagnosis.verdict import diagnose as diagnose
