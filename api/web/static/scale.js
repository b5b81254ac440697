// From values to places on an axis, with ticks at round numbers; those of bytes are round in powers of two.

export function scale(values, from, to, { binary = false, wantedTicks = 4 } = {}) {
  const high = Math.max(...values);
  const low = Math.min(...values);
  const base = binary ? 2 : 10;
  return low > 0 && high / low > 20 ? logarithmic(low, high, from, to, wantedTicks + 1, base) : linear(high || 1, from, to, wantedTicks, base);
}

function linear(high, from, to, wanted, base) {
  const rough = high / wanted;
  const power = base ** Math.floor(Math.log(rough) / Math.log(base));
  const step = (base === 2 ? [1, 1.5, 2] : [1, 2, 2.5, 5, 10]).map((factor) => factor * power).find((size) => size >= rough);
  const top = Math.ceil(high / step) * step;
  const ticks = Array.from({ length: Math.round(top / step) + 1 }, (_, number) => number * step);
  return { at: (value) => from + ((to - from) * value) / top, ticks, kind: "linear" };
}

function logarithmic(low, high, from, to, wanted, base) {
  const log = (value) => Math.log(value) / Math.log(base);
  const first = Math.floor(log(low));
  const last = Math.max(first + 1, Math.ceil(log(high)));
  const stride = Math.ceil((last - first) / wanted);
  const ticks = [];
  for (let power = first; power <= last; power += stride) ticks.push(base ** power);
  const at = (value) => from + ((to - from) * (log(value) - first)) / (last - first);
  return { at, ticks, kind: "logarithmic" };
}
