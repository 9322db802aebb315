#include "spinor/runtime/delta_rule.h"

#include <ATen/ATen.h>

#include <cmath>

namespace spinor::runtime {
namespace {

constexpr double kTiny = 1e-6;  // under the root of a length

at::Tensor unit(const at::Tensor& x) {
  return x * (x * x).sum(-1, true).add_(kTiny).rsqrt_();
}

// (sequences, heads, tokens, size), in float32 at least; so many value heads share a key.
at::Tensor heads(const at::Tensor& x, int64_t size, int64_t shared) {
  const at::Tensor split = widened(x).reshape({x.size(0), x.size(1), -1, size}).transpose(1, 2);
  return shared == 1 ? split.contiguous() : split.repeat_interleave(shared, 1);
}

}  // namespace

// x (sequences, tokens, channels). `before` are the tokens that the filter sees before it, and then those of x.
at::Tensor DeltaRule::filtered(const at::Tensor& x, at::Tensor& before) const {
  const at::Tensor channels = x.transpose(1, 2);
  const int64_t past = filter.size(-1) - 1;
  if (!before.defined()) before = at::zeros({x.size(0), x.size(2), past}, x.options());
  const at::Tensor all = at::cat({before, channels}, 2);
  before = all.narrow(2, all.size(2) - past, past).contiguous();
  return at::silu(at::conv1d(all, filter, at::Tensor(), at::IntArrayRef{1}, at::IntArrayRef{0}, at::IntArrayRef{1},
                             x.size(2)))
      .transpose(1, 2);
}

// Token by token: the state forgets, learns the value of the key, and is asked by the query.
at::Tensor DeltaRule::scan(const at::Tensor& mixed, const at::Tensor& strengths, const at::Tensor& decays,
                           at::Tensor& state) const {
  const int64_t values = strengths.size(-1) * value_size, keys = (mixed.size(-1) - values) / 2,
                shared = strengths.size(-1) * key_size / keys;
  const at::Tensor q = unit(heads(mixed.narrow(-1, 0, keys), key_size, shared)) / std::sqrt(key_size),
                   k = unit(heads(mixed.narrow(-1, keys, keys), key_size, shared)),
                   v = heads(mixed.narrow(-1, 2 * keys, values), value_size, 1);
  if (!state.defined()) state = at::zeros({v.size(0), v.size(1), key_size, value_size}, v.options());
  std::vector<at::Tensor> made;
  for (int64_t i = 0; i < mixed.size(1); ++i) {
    const auto at = [i](const at::Tensor& x) { return x.narrow(2, i, 1); };
    const auto each = [i](const at::Tensor& x) { return x.select(1, i).unsqueeze(-1).unsqueeze(-1); };
    state = state * each(decays);
    const at::Tensor error = (at(v) - at(k).matmul(state)) * each(strengths);
    state = state + at(k).transpose(-1, -2).matmul(error);
    made.push_back(at(q).matmul(state));
  }
  return at::cat(made, 2).transpose(1, 2).to(mixed.scalar_type());
}

at::Tensor DeltaRule::operator()(const at::Tensor& x, const RopeTable*, int64_t layer, KeyValueCache* cache) const {
  LinearInput input(x);
  std::vector<at::Tensor> projected;
  for (const Linear& linear : inputs) projected.push_back(linear(input));
  const auto rows = [&](const Piece& piece) {
    const at::Tensor runs = projected[piece.linear].reshape({x.size(0), x.size(1), -1, piece.rows.period});
    return runs.narrow(-1, piece.rows.begin, piece.rows.size).reshape({x.size(0), x.size(1), -1});
  };
  std::array<at::Tensor, 2> none;
  std::array<at::Tensor, 2>& state = cache ? cache->state(layer) : none;
  const at::Tensor mixed = filtered(at::cat({rows(query), rows(key), rows(value)}, -1), state[0]);
  const at::Tensor rate = -widened(decay_rate).exp();
  const at::Tensor decays = (rate * at::softplus(widened(rows(decay)) + widened(decay_bias))).exp_();
  const at::Tensor made = scan(mixed, widened(rows(strength).sigmoid()), decays, state[1]);
  const at::Tensor opened = at::silu(widened(rows(gate))).reshape(made.sizes());
  const at::Tensor gated = (norm(made.contiguous()) * opened).to(x.scalar_type());
  LinearInput read(gated.reshape({x.size(0), x.size(1), -1}).contiguous(), true);
  return output(read);
}

}  // namespace spinor::runtime
