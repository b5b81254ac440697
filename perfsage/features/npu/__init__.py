"""What Ethos-U accelerators take for each operator, as Arm's compiler Vela 5 plans and estimates it.

These formulas, with nothing learned, are what predictors start from (decisions 7, 9 to 11, 13 and 15):

- `estimate` is what others call: `columns` for cycles and bytes, `memory` for SRAM, `refusals` for the CPU;
- what there is to do: `lowering` makes `work` of operators, with `draft`, `drafting`, `copies`,
  `resizing`, `padding`, `stale_slices`, `depths`, `deep_shapes`, `deep_formats`, `ends` and `formats`;
- accelerators: `geometry` describes them, `asked` says which are wanted, `systems` puts them side by side;
- blocks of outputs: `blocks`, `blocks_u85`, `blocks_alone`, `search`, `areas_u85`, `fitted_u85`, `sparse`;
- `plan` has the work, its cycles and what is copied; `cycles` remembers what `generations` put
  together of `cycles_u55`, `cycles_u85`, `pace`, `fetch`, `bursts` and `streams`;
- weights that are copied ahead: `prefetch`, `tasks`, `copying`, `slices`, `far_strides`; stored: `stored`,
  `stored_parts`, `once`, `clumps`;
- when operators run: `schedule`, `grouping`; rooms beside tensors: `broken_rooms`, `inner_rooms`,
  `resizing_rooms`, `softmax_rooms`;
- functions on the way out: `fusing`, `activations`, `chains`;
- tensors in SRAM or DRAM: `sharing`, `mates`, `spills`, `keeping`, `staged`, `accesses`, `cascades`,
  `cascade_steps`, `stripes`, `constants`, `wholes`;
- what becomes several operators (`broken`, `integers`): `softmax*`, `recurrent*`, `reduction*`, `axes`,
  `products`, `squares`, `turns`, `transposes`, `identities`, `broadcasts`, `multiples`, `fills`, `phases`,
  `parts_u85`, `extra_parts`.
"""
