"""Diagnosis: a verdict that a bring-up engineer can act on."""

from validation.diagnosis.diagnose import diagnose as diagnose
from validation.diagnosis.diagnosis import Diagnosis as Diagnosis
