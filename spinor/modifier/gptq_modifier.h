// GPTQ in a recipe: weights are rounded column by column, each column making good what the ones before it did to the
// layer's output on calibration data (arXiv 2210.17323). The data is calibration's business.
#pragma once

#include "spinor/modifier/quantization_modifier.h"

namespace spinor {

// QuantizationArguments, and llm-compressor's of GPTQ.
struct GptqArguments {
  QuantizationArguments quantization;
  int64_t block_size = 128;
  std::optional<double> dampening_frac = 0.01;
  Json actorder = "static";  // this is for groups that say nothing, anything else for all; null: none
  // Of the peer's batches on a GPU; read and without effect.
  Json batched_quantization = "auto";

  template <class Visitor>
  void fields(Visitor& v) {
    quantization.fields(v);
    v("block_size", block_size);
    v("dampening_frac", dampening_frac);
    v("actorder", actorder);
    v("batched_quantization", batched_quantization);
  }
};

// As QuantizationModifier, but that codes of linears are found with data; embeddings are rounded to the nearest.
// Errors: an actorder that contradicts a group's own, a block_size or dampening_frac that makes no sense, format:
// dense.
class GPTQModifier : public QuantizationModifier {
 public:
  using Arguments = GptqArguments;

  explicit GPTQModifier(GptqArguments arguments, const Place& place = {"GPTQModifier", "GPTQModifier"});

  std::string name() const override { return "GPTQModifier"; }
  Json arguments() const override { return write_fields(arguments_); }

 protected:
  std::optional<GptqOptions> gptq() const override {
    return GptqOptions{arguments_.block_size, arguments_.dampening_frac.value_or(0)};
  }

 private:
  GptqArguments arguments_;
};

}  // namespace spinor
