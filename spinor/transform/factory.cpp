#include "spinor/transform/factory.h"

#include <fmt/format.h>

#include <algorithm>

#include "spinor/base/error.h"
#include "spinor/base/nearest.h"
#include "spinor/linalg/fixing_ones.h"
#include "spinor/linalg/orthogonal.h"

namespace spinor {
namespace {

std::vector<int64_t> draw_permutation(const TransformRequest& request, Random& random) {
  return request.randomize ? random.permutation(request.size) : std::vector<int64_t>{};
}

const char* const kAnySize = "use --transform-type auto by command, transform_type: auto in a recipe";

// Signs first, then the permutation: the order of compressed-tensors' draws.
Rotation make_hadamard(const TransformRequest& request, Random& random) {
  const int64_t n = request.size, block = n & -n;  // the largest power of two that divides n
  if (request.fixes_ones && n > 0)
    return hadamard_fixing_ones(n, bent_signs(n), bent_signs(n), draw_permutation(request, random));
  if (n <= 0 || n != block)
    throw Error("hadamard", fmt::format("has no matrix of size {}, which is not a power of two", n),
                block < 2
                    ? kAnySize
                    : fmt::format("{0}; or blocks: --block-size {1}, transform_block_size: {1}", kAnySize, block));
  return Rotation::hadamard(Hadamard::sylvester(n), {}, draw_permutation(request, random));
}

Rotation make_random_hadamard(const TransformRequest& request, Random& random) {
  const int64_t n = request.size;
  if (request.fixes_ones && n > 0) {
    std::vector<int8_t> left = random.signs(n), right = random.signs(n);
    return hadamard_fixing_ones(n, std::move(left), std::move(right), draw_permutation(request, random));
  }
  if (n > 0 && !Hadamard::exists(n))
    throw Error("random-hadamard",
                fmt::format("has no matrix of size {}: no Hadamard matrix of that order is known", n), kAnySize);
  Hadamard matrix = Hadamard::of_order(n);
  std::vector<int8_t> signs = random.signs(n);
  return Rotation::hadamard(std::move(matrix), std::move(signs), draw_permutation(request, random));
}

// Not orthogonal; `randomize` means nothing here, as in compressed-tensors.
Rotation make_random_matrix(const TransformRequest& request, Random& random) {
  if (request.fixes_ones)
    throw Error("random-matrix", "is not orthogonal, so it does not commute with a LayerNorm", kAnySize);
  Matrix<double> m(request.size, request.size);
  for (double& entry : m.data) entry = request.single_precision ? random.uniform_float() : random.uniform_double();
  return Rotation::dense(std::move(m), false);
}

Rotation make_random_orthogonal(const TransformRequest& request, Random& random) {
  if (request.randomize)
    throw Error("random-orthogonal", "randomize has no meaning for a matrix that is random in every direction",
                "leave out --randomize by command, randomize in a recipe");
  return Rotation::dense(request.fixes_ones ? random_orthogonal_fixing_ones(request.size, random)
                                            : random_orthogonal(request.size, random),
                         true);
}

std::vector<TransformType>& table() {
  static std::vector<TransformType> types = {
      {"hadamard", true, make_hadamard},
      {"random-hadamard", true, make_random_hadamard},
      {"random-matrix", false, make_random_matrix},
      {"random-orthogonal", true, make_random_orthogonal},
  };
  return types;
}

std::string normalized(std::string_view name) {
  std::string text(name);
  for (char& c : text) c = c == '_' || c == ' ' ? '-' : static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  return text;
}

const TransformType* lookup(std::string_view name) {
  const auto found = std::ranges::find(table(), normalized(name), &TransformType::name);
  return found == table().end() ? nullptr : &*found;
}

}  // namespace

const std::vector<TransformType>& transform_types() {
  return table();
}

void register_transform_type(TransformType type) {
  type.name = normalized(type.name);
  if (type.name.empty() || !type.make) throw Error("transform type", "needs a name and a maker");
  if (lookup(type.name)) throw Error(type.name, "is already a transform type", "give yours another name");
  table().push_back(std::move(type));
}

const TransformType& find_transform_type(std::string_view name) {
  if (const TransformType* type = lookup(name)) return *type;
  std::vector<std::string_view> names;
  for (const TransformType& type : table()) names.push_back(type.name);
  throw Error(std::string(name), "is not a transform type", suggest_name(name, names));
}

}  // namespace spinor
