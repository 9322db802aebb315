#include "cli/runtime_flags.h"

#include <fmt/format.h>

#include "spinor/base/error.h"
#include "spinor/io/checkpoint_writer.h"

namespace spinor::cli {
namespace {

std::optional<runtime::LowBits> low_bits(int bits, bool symmetric, float clip) {
  if (bits >= 16) return std::nullopt;
  return runtime::LowBits{bits, symmetric, clip};
}

}  // namespace

void RuntimeFlags::add_to(CLI::App& app) {
  app.get_option("--threads")->description("Threads (0: all)");  // of libtorch, whose last bits depend on them
  const auto option = [](CLI::Option* o) { return o->group("Runtime")->capture_default_str(); };
  option(app.add_option("--dtype", dtype, "Type of all arithmetic: float64, float32, bfloat16 or float16"));
  option(app.add_option("--device", device, "As torch spells it: cpu, cuda, cuda:1"));
  option(
      app.add_option("--memory", memory,
                     "Most memory for weights and activations, e.g. 3GB: with less than the model takes, one layer at "
                     "a time is held; default half of what is free"));
}

void RuntimeFlags::add_low_bits_to(CLI::App& app) {
  const auto option = [](CLI::Option* o) { return o->group("Low bits")->capture_default_str(); };
  const CLI::Validator bits = CLI::Range(2, 8) | CLI::IsMember({16});
  option(app.add_option("--activations", activations,
                        "Quantize the inputs of the layers' linears to so many bits, per token; 16: as the checkpoint "
                        "declares"))
      ->check(bits);
  option(app.add_flag("--activations-symmetric", activations_symmetric, "Symmetric instead of asymmetric"));
  option(app.add_option("--activations-clip", activations_clip, "Multiplies the range of a token"))
      ->check(CLI::Range(0.01, 1.0));
  option(app.add_option("--kv", kv, "Quantize keys and values to so many bits, per token and head")->check(bits));
  option(app.add_flag("--kv-symmetric", kv_symmetric, "Symmetric instead of asymmetric"));
  option(app.add_option("--kv-clip", kv_clip, "Multiplies the range of a head"))->check(CLI::Range(0.01, 1.0));
}

runtime::RuntimeOptions RuntimeFlags::options(const CommonOptions& common) const {
  runtime::RuntimeOptions result{.device = device, .threads = common.threads};
  const DTypeInfo* found = find_dtype(dtype);
  if (!found || !found->editable)
    throw Error("--dtype", fmt::format("'{}' is not a type models are run in", dtype),
                "use float64, float32, bfloat16 or float16");
  result.dtype = found->dtype;
  if (!memory.empty()) result.memory = parse_size(memory);
  result.activations = low_bits(activations, activations_symmetric, activations_clip);
  result.kv = low_bits(kv, kv_symmetric, kv_clip);
  return result;
}

}  // namespace spinor::cli
