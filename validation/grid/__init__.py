"""What every clocked implementation shares: steps, losses on steps, and the time-stepped reference."""

from validation.grid.time_stepped import TimeStepped as TimeStepped
