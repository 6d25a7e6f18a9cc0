"""Programs in lock step: every packet that is sent in one step arrives in the next, in both directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from validation.spinnaker2.packets import ErrorPackets, Program, SpikePackets


@dataclass(eq=False)
class Core:
    """Programs, and which populations each of them listens to.

    Attributes
    ----------
    programs : mapping of str to Program
        By name; a program that sends spikes has the name of its population, and gets the errors of its spikes.
    listens : mapping of str to sequence of str
        Populations whose spikes a program receives.
    n_steps : int
        Steps 0 .. n_steps - 1, of which step 0 is the initial state.
    spike_packets, error_packets : int
        How many packets were sent so far.
    """

    programs: Mapping[str, Program]
    listens: Mapping[str, Sequence[str]]
    n_steps: int
    spike_packets: int = field(default=0, init=False)
    error_packets: int = field(default=0, init=False)

    def forward(self, inputs: Sequence[str], losses: Sequence[str]) -> None:
        """Run all steps.

        Parameters
        ----------
        inputs : sequence of str
            Programs that send in step 0 already.
        losses : sequence of str
            Programs that still receive what was sent in the last step.
        """
        in_flight = self._sent(inputs, 0, {})
        for step in range(1, self.n_steps):
            in_flight = self._sent(self.programs, step, in_flight)
        self._sent(losses, self.n_steps, in_flight)

    def backward(self, inputs: Sequence[str]) -> None:
        """Run all steps backwards; ``inputs`` still receive what was sent in the last of them."""
        in_flight: dict[str, list[ErrorPackets]] = {}
        for step in range(self.n_steps - 2, -1, -1):
            sent: dict[str, list[ErrorPackets]] = {}
            for name, program in self.programs.items():
                for packets in program.backward(step, in_flight.get(name, ())):
                    self.error_packets += packets.samples.size
                    sent.setdefault(packets.population, []).append(packets)
            in_flight = sent
        for name in inputs:
            self.programs[name].backward(-1, in_flight.get(name, ()))

    def _sent(
        self, names: Sequence[str] | Mapping[str, Program], step: int, in_flight: Mapping[str, SpikePackets]
    ) -> dict[str, SpikePackets]:
        """Do one step of some programs and return their spikes by population."""
        sent = {}
        for name in names:
            received = [in_flight[population] for population in self.listens[name] if population in in_flight]
            packets = self.programs[name].forward(step, received)
            if packets is not None:
                self.spike_packets += packets.samples.size
                sent[packets.population] = packets
        return sent
