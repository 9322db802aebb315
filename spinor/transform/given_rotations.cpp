#include "spinor/transform/given_rotations.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <span>
#include <vector>

#include "spinor/base/error.h"
#include "spinor/io/digest.h"
#include "spinor/io/file.h"
#include "spinor/io/safetensors.h"
#include "spinor/linalg/convert.h"
#include "spinor/linalg/nearest_orthogonal.h"
#include "spinor/model/model.h"

namespace spinor {
namespace {

// How far R R^T may be from 1, entry by entry. Rounding the entries of R once by a relative u moves it by at most 2 u;
// computing R in that type costs more, 2^10 u being what a product of a thousand inexact rotations may be off by.
// bfloat16 is for storing only.
struct StoredType {
  DType dtype;
  double tolerance;
};
constexpr StoredType kTypes[] = {{DType::F64, 0x1p-43}, {DType::F32, 0x1p-14}, {DType::BF16, 0x1p-8}};

constexpr const char* kKnownNames =
    "names are R1, R2, R2.<layer>, model.layers.<layer>.self_attn.R2, v.<linear>, of scales scale.<module>, and of "
    "orders permutation.<linear>";
constexpr std::string_view kScalePrefix = "scale.", kInputPrefix = "v.", kPermutationPrefix = "permutation.";

struct Target {
  std::string group;
  int layer = kEveryLayer;
  std::string linear = {};  // of v
};

// Digits as a number is written: no sign, no leading zero.
std::optional<int> layer_from(std::string_view text) {
  int layer = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), layer);
  if (error != std::errc() || end != text.data() + text.size() || std::to_string(layer) != text || layer < 0) return {};
  return layer;
}

std::optional<Target> target_of(std::string_view name) {
  if (name == "R1" || name == "R2") return Target{std::string(name)};
  if (name.starts_with(kInputPrefix))
    return Target{kInputGroup, kEveryLayer, std::string(name.substr(kInputPrefix.size()))};
  constexpr std::array<std::pair<std::string_view, std::string_view>, 2> kForms = {
      {{"R2.", ""}, {"model.layers.", ".self_attn.R2"}}};
  for (const auto& [prefix, suffix] : kForms) {
    if (name.size() < prefix.size() + suffix.size() || !name.starts_with(prefix) || !name.ends_with(suffix)) continue;
    const auto layer = layer_from(name.substr(prefix.size(), name.size() - prefix.size() - suffix.size()));
    if (layer) return Target{"R2", *layer};
  }
  return {};
}

// And what it is called.
std::pair<int64_t, const char*> side_of(const Target& target, const Model& model, const std::string& subject) {
  if (target.group == "R1") return {model.hidden_size(), "hidden_size"};
  if (target.linear.empty()) return {model.value_block(), "head_dim"};
  const Module* linear = model.find(target.linear);
  if (linear && linear->kind == ModuleKind::linear) return {linear->shape.in, "the number of its inputs"};
  throw Error(subject, fmt::format("the model has no linear {}", target.linear));
}

const StoredType& type_of(const TensorInfo& info, const std::string& subject) {
  const auto found = std::ranges::find(kTypes, info.dtype, &StoredType::dtype);
  if (found != std::end(kTypes)) return *found;
  throw Error(subject, fmt::format("is stored as {}", spinor::info(info.dtype).name),
              "use float64, float32 or bfloat16");
}

void check_shape(const TensorInfo& info, const Target& target, const Model& model, const std::string& subject) {
  const std::vector<int64_t>& shape = info.shape;
  if (shape.size() != 2 || shape[0] != shape[1] || shape[0] < 1) throw Error(subject, "is not a square matrix");
  const auto [side, name] = side_of(target, model, subject);
  if (side % shape[0] == 0) return;
  throw Error(subject, fmt::format("is of size {}, but {} is {}", shape[0], name, side),
              "a rotation has that size, or one that divides it");
}

std::vector<double> read_numbers(const File& file, const TensorInfo& info) {
  std::vector<std::byte> bytes(static_cast<size_t>(info.bytes()));
  file.read(info.begin, bytes);
  std::vector<double> numbers(static_cast<size_t>(info.elements()));
  load(info.dtype, bytes.data(), numbers.data(), std::ssize(numbers));
  return numbers;
}

Matrix<double> read_matrix(const File& file, const TensorInfo& info, const std::string& subject) {
  Matrix<double> m(info.shape[0], info.shape[1]);
  m.data = read_numbers(file, info);
  if (!std::ranges::all_of(m.data, [](double x) { return std::isfinite(x); }))
    throw Error(subject, "has an entry that is not finite");
  return m;
}

// A factor is taken as it is, so that bfloat16 would be a mistake of whoever wrote it.
void read_scale(const File& file, const TensorInfo& info, const std::vector<ScaleLegality>& legality,
                const Model& model, const std::string& subject, GivenScales& scales) {
  const std::string name = info.name.substr(kScalePrefix.size());
  const LegalScale& scale = find_scale(legality, model, name, subject);
  if (info.dtype != DType::F64 && info.dtype != DType::F32)
    throw Error(subject, fmt::format("is stored as {}", spinor::info(info.dtype).name), "use float64 or float32");
  if (info.shape.size() != 1)
    throw Error(subject, fmt::format("has {} dimensions", info.shape.size()), "a scale is a vector");
  std::vector<double> factors = read_numbers(file, info);
  check_factors(scale, factors, subject);
  scales.emplace(name, std::make_shared<const std::vector<double>>(std::move(factors)));
}

void read_permutation(const File& file, const TensorInfo& info, const std::vector<HiddenChannels>& channels,
                      const std::string& subject, GivenPermutations& permutations) {
  const std::string name = info.name.substr(kPermutationPrefix.size());
  const HiddenChannels& of = find_channels(channels, name, subject);
  if (info.dtype != DType::I64)
    throw Error(subject, fmt::format("is stored as {}", spinor::info(info.dtype).name), "use int64");
  if (info.shape.size() != 1)
    throw Error(subject, fmt::format("has {} dimensions", info.shape.size()), "an order is a vector");
  std::vector<int64_t> order(static_cast<size_t>(info.shape[0]));
  file.read(info.begin, std::as_writable_bytes(std::span(order)));
  check_order(of, order, subject);
  permutations.emplace(name, std::make_shared<const std::vector<int64_t>>(std::move(order)));
}

// Rounding the n entries of a unit row by u each moves their sum by at most u sqrt(n).
void require_fixed_ones(const Matrix<double>& m, double tolerance, const std::string& subject) {
  const double error = ones_error(m);
  if (!(error <= tolerance * std::sqrt(static_cast<double>(m.rows))))
    throw Error(subject,
                fmt::format("does not map the vector of ones to itself (a row or column adds up to 1 +- {:.2g}), which "
                            "it must where LayerNorms read the residual stream",
                            error),
                "learn it among those that do, or leave R1 to be drawn");
}

Rotation rotation_of(Matrix<double> m, const StoredType& type, bool fixes_ones, const std::string& subject) {
  if (fixes_ones) require_fixed_ones(m, type.tolerance, subject);
  const double error = make_orthogonal(m, type.tolerance);
  if (!(error <= type.tolerance))
    throw Error(subject,
                fmt::format("is not orthogonal: an entry of R R^T is off by {:.2g}, and rounding to {} explains {:.2g}",
                            error, info(type.dtype).torch, type.tolerance));
  if (fixes_ones) restore_ones(m);
  return Rotation::dense(std::move(m), true);
}

void check_digest(const File& file, const std::string& digest, GivenRotations& given) {
  Digest whole;
  std::vector<std::byte> chunk;
  for (int64_t at = 0; at < file.bytes(); at += std::ssize(chunk)) {
    chunk.resize(static_cast<size_t>(std::min<int64_t>(1 << 20, file.bytes() - at)));
    file.read(at, chunk);
    whole.update(chunk);
  }
  given.digest = whole.hex();
  if (digest.empty() || digest == given.digest) return;
  throw Error(file.path().string(),
              fmt::format("is not the file of rotations that was used: its digest is {}, not {}", given.digest, digest),
              "give that file, or remove its digest from the recipe to use this one");
}

}  // namespace

GivenRotations read_rotations(const std::filesystem::path& path, const Model& model, const std::string& digest) {
  const File file = File::open(path);
  const SafetensorsHeader header = read_safetensors_header(file);
  GivenRotations given;
  check_digest(file, digest, given);
  std::vector<ScaleLegality> scales;
  std::vector<HiddenChannels> channels;
  for (const TensorInfo& info : header.tensors) {
    const std::string subject = path.string() + ": " + info.name;
    if (info.name.starts_with(kScalePrefix)) {
      if (scales.empty()) scales = scale_legality(model);
      read_scale(file, info, scales, model, subject, given.scales);
      continue;
    }
    if (info.name.starts_with(kPermutationPrefix)) {
      if (channels.empty()) channels = hidden_channels(model);
      read_permutation(file, info, channels, subject, given.permutations);
      continue;
    }
    const std::optional<Target> target = target_of(info.name);
    if (!target) throw Error(subject, "is not the name of a rotation", kKnownNames);
    if (target->layer != kEveryLayer && target->layer >= model.num_layers())
      throw Error(subject, fmt::format("the model has {} layers", model.num_layers()));
    const StoredType& type = type_of(info, subject);
    check_shape(info, *target, model, subject);
    const bool fixes_ones = target->group == "R1" && model.stream().centred;
    Rotation r = rotation_of(read_matrix(file, info, subject), type, fixes_ones, subject);
    if (!target->linear.empty()) {
      given.inputs.emplace(target->linear, std::move(r));
      continue;
    }
    GivenMatrices& matrices = given.groups[target->group];
    if (!matrices.empty() && matrices.begin()->second.size() != r.size())
      throw Error(subject, "is of another size than the matrices of other layers");
    const bool alone = matrices.empty() || (target->layer != kEveryLayer && !matrices.contains(kEveryLayer));
    if (!alone || !matrices.emplace(target->layer, std::move(r)).second)
      throw Error(subject, "is a second matrix for the same layer", kKnownNames);
  }
  if (given.empty()) throw Error(path.string(), "has no rotation, no scale and no permutation in it", kKnownNames);
  return given;
}

void use_given(const GivenRotations& given, const Model& model, TransformConfig& config) {
  for (const auto& [name, matrices] : given.groups) {
    const auto group = std::ranges::find(config.config_groups, name, [](const auto& entry) { return entry.first; });
    if (group == config.config_groups.end())
      throw Error(name, "has matrices of its own, but is not among the rotations",
                  "add it to --rotations (rotations in a recipe), or take it out of the file");
    TransformScheme& scheme = group->second;
    const int64_t size = matrices.begin()->second.size();
    const bool per_head = name == "R2";
    if (scheme.head_dim && (per_head ? *scheme.head_dim % size != 0 : *scheme.head_dim != size))
      throw Error(name, fmt::format("has matrices of size {} of its own, not of {}", size, *scheme.head_dim),
                  "leave out --block-size by command, transform_block_size or head_dim in a recipe");
    if (per_head || size != model.hidden_size()) scheme.head_dim = size;
    scheme.type = kGivenType;
    scheme.randomize = false;
    scheme.given = matrices;
  }
  use_given_inputs(given.inputs, model, config);
}

}  // namespace spinor
