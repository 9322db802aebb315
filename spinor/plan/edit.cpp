#include "spinor/plan/edit.h"

#include <fmt/format.h>

namespace spinor {
namespace {

std::string_view short_name(std::string_view tensor) {
  if (tensor.ends_with(".weight")) tensor.remove_suffix(7);
  if (tensor.ends_with(".bias")) tensor.remove_suffix(5);
  return tensor.substr(tensor.rfind('.') + 1);  // npos + 1 is 0
}

std::string scale_of(std::string_view norm, double offset) {
  return offset == 0 ? std::string(short_name(norm)) : fmt::format("{} + {}", offset, short_name(norm));
}

std::string blocks(int64_t side, int64_t size, const std::optional<Slice>& part) {
  if (part && size > 0)
    return fmt::format(" ({} blocks of {} from {} of {})", side / part->period * part->size / size, size, part->begin,
                       part->period);
  return side == size || size <= 0 ? "" : fmt::format(" ({} blocks of {})", side / size, size);
}

std::string scheme_of(const QuantizationArgs& args) {
  std::string text = fmt::format("{}{}", args.type == QuantizationType::integer ? "int" : "float", args.num_bits);
  if (args.type == QuantizationType::integer && !args.symmetric) text += " asymmetric";
  if (args.strategy) text += fmt::format(" {}", name_in_table(*args.strategy));
  if (args.group_size && *args.group_size > 0) text += fmt::format(" {}", *args.group_size);
  if (args.block_structure) text += fmt::format(" {}x{}", args.block_structure->first, args.block_structure->second);
  return text;
}

// One overload an edit: an edit that nobody can print does not compile.
struct Describe {
  int64_t rows, cols;
  char tensor() const { return rows == 1 ? 'b' : 'W'; }

  std::string operator()(const FoldNorm& edit) const {
    const std::string scale = scale_of(edit.norm, edit.offset);
    std::string text = edit.inverse ? "fold 1 / (" + scale + ")" : "fold " + scale;
    if (edit.rows) text += " into rows";
    if (const auto& some = edit.columns)
      text += fmt::format(" into columns {} to {}", some->begin, some->begin + some->size - 1);
    return text;
  }
  std::string operator()(const FoldNormBias& edit) const {
    return fmt::format("fold bias of {}", short_name(edit.norm_bias));
  }
  std::string operator()(const FoldNormWithBias& edit) const {
    return fmt::format("fold {} with its bias", scale_of(edit.norm, edit.offset));
  }
  std::string operator()(const FillLevel&) const { return "fill level"; }
  std::string operator()(const CenterRows&) const { return "center rows"; }
  std::string operator()(const MultiplyRight& edit) const {
    return fmt::format("{} {}{}", tensor(), edit.label, blocks(cols, edit.r.size(), edit.part));
  }
  std::string operator()(const MultiplyLeft& edit) const {
    return fmt::format("{} {}{}", edit.label, tensor(), blocks(rows, edit.r.size(), edit.part));
  }
  // A bias has one entry for each row of its weight.
  std::string operator()(const Scale& edit) const {
    std::string text = fmt::format("{} {} scale {}",
                                   rows == 1      ? "entries"
                                   : edit.columns ? "columns"
                                                  : "rows",
                                   edit.inverse ? "over" : "times", edit.label);
    if (edit.part) text += fmt::format(" ({} from {} of {})", edit.part->size, edit.part->begin, edit.part->period);
    return text;
  }
  std::string operator()(const Fill& edit) const { return fmt::format("fill {}", edit.value); }
  std::string operator()(const Quantize& edit) const {
    return fmt::format("quantize {} ({})", scheme_of(edit.quantization.args), edit.quantization.format);
  }
  std::string operator()(const QuantizeDequantize& edit) const {
    return fmt::format("quantize and dequantize {}", scheme_of(edit.quantization.args));
  }
};

}  // namespace

const WeightQuantization* quantization_of(std::span<const Edit> edits) {
  for (const Edit& edit : edits) {
    if (const auto* quantize = std::get_if<Quantize>(&edit)) return &quantize->quantization;
    if (const auto* quantize = std::get_if<QuantizeDequantize>(&edit)) return &quantize->quantization;
  }
  return nullptr;
}

std::string text_of(const Edit& edit, int64_t rows, int64_t cols) {
  return std::visit(Describe{rows, cols}, edit);
}

}  // namespace spinor
