/* One LIF neuron on a grid of 10 us, and a record of what it did: cc write_record.c -lm && ./a.out > neuron.json

   The neuron gets one spike at 0 over a weight of 9; its loss is half the square of its first spike time. A record is
   JSON: docs/reference/records.md says what may be in it. Here times are in steps, as a clocked machine counts them. */

#include <math.h>
#include <stdio.h>

int main(void)
{
    const double step = 1e-5, tau_mem = 20e-3, tau_syn = 5e-3, weight = 9.0;
    const int n_steps = 500, target = 0;
    const double a = exp(-step / tau_mem), b = exp(-step / tau_syn), gain = tau_syn / (tau_syn - tau_mem) * (b - a);
    double v = 0.0, i = weight, per_weight = 0.0;
    int k = 0;

    while (v <= 1.0 && k < n_steps) { /* up to the first spike, and V per unit of weight along with it */
        v = a * v + gain * i;
        i = b * i;
        per_weight = v / weight;
        k++;
    }
    const double slope = (i - v) / tau_mem * step; /* V' per step */
    const double loss = 0.5 * (k - target) * (k - target), dt_dw = -per_weight / slope;

    printf("{\"format\": \"eventsolve-record\", \"version\": 1, \"name\": \"one neuron in C\",\n");
    printf(" \"conventions\": {\"time_unit\": \"step\", \"time_step\": %.17g},\n", step);
    printf(" \"t_end\": %d,\n", n_steps);
    printf(" \"network\": {\"populations\": [{\"name\": \"in\", \"size\": 1, \"model\": \"input\"},\n");
    printf("  {\"name\": \"out\", \"size\": 1, \"model\": \"LIF\", \"tau_mem\": %.17g, \"tau_syn\": %.17g}],\n",
           tau_mem / step, tau_syn / step);
    printf("  \"projections\": [{\"pre\": \"in\", \"post\": \"out\", \"weight\": [[%.17g]]}]},\n", weight);
    printf(" \"inputs\": {\"in\": {\"n_neurons\": 1, \"times\": [0], \"neurons\": [0]}},\n");
    printf(" \"spikes\": {\"out\": {\"n_neurons\": 1, \"times\": [%d], \"neurons\": [0]}},\n", k);
    printf(" \"loss\": {\"kind\": \"TargetTimeMSE\", \"population\": \"out\", \"targets\": [[%d]]},\n", target);
    printf(" \"loss_values\": %.17g,\n", loss);
    printf(" \"gradients\": {\"weight\": [{\"pre\": \"in\", \"post\": \"out\", \"values\": [[%.17g]]}]}}\n",
           (k - target) * dt_dw);
    return 0;
}
